-- One group of plain Observations in one statement: locks, checks, rows, aggregates, outbox.
-- Arrays are columns, in the order of rows; an empty one is a column of nulls; -2^63, NaN, 0 and a blank stand for null.
-- Whatever is not plain raises TS001: nothing is stored, and the caller takes the slow way, which knows the reason.
CREATE FUNCTION obs_write(
    ids bigint[], times bigint[], results double precision[], datastreams integer[], features integer[],
    ends bigint[], result_times bigint[], kinds text, extras text[],
    streams integer[], versions integer[], shards integer[], payloads bytea[], outbox_bytes_max bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    none CONSTANT bigint := -9223372036854775808;
    n_known integer;
    made integer[];
    next_seq bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(8317421955230741);
    -- The stat rows are the locks, taken in the order of ids.
    PERFORM s.datastream_id FROM datastream_stat s WHERE s.datastream_id = ANY (streams)
    ORDER BY s.datastream_id FOR NO KEY UPDATE;
    SELECT count(*) INTO n_known
    FROM unnest(streams, versions) AS u(id, version)
    JOIN datastream_stat s ON s.datastream_id = u.id
    JOIN datastream d ON d.id = u.id AND d.version = u.version;
    IF n_known <> cardinality(streams) THEN
        RAISE 'a Datastream is gone or has changed' USING ERRCODE = 'TS001';
    END IF;
    IF (SELECT coalesce(sum(waiting_bytes), 0) FROM outbox_head) > outbox_bytes_max THEN
        RAISE 'the outbox is full' USING ERRCODE = 'TS001';
    END IF;
    -- The feature generated from the Thing's lowest-id Location with a GeoJSON encoding, else its lowest-id Location.
    SELECT array_agg(coalesce((
        SELECT f.id
        FROM datastream d
        JOIN thing_location tl ON tl.thing_id = d.thing_id
        JOIN location l ON l.id = tl.location_id
        LEFT JOIN feature f ON f.gen_location_id = l.id
        WHERE d.id = u.id
        ORDER BY CASE WHEN l.encoding_type IN ('application/vnd.geo+json', 'application/geo+json') THEN 0 ELSE 1 END, l.id
        LIMIT 1
    ), 0) ORDER BY u.n) INTO made
    FROM unnest(streams) WITH ORDINALITY AS u(id, n);
    -- Pairs that are known: their feature exists, belongs to the same system, and the box holds it already.
    IF EXISTS (
        SELECT FROM (
            SELECT DISTINCT u.d, coalesce(nullif(u.f, 0), made[array_position(streams, u.d)]) AS f
            FROM unnest(datastreams, features) AS u(d, f)
        ) p
        WHERE NOT EXISTS (SELECT FROM datastream_feature k WHERE k.datastream_id = p.d AND k.feature_id = p.f)
    ) THEN
        RAISE 'a feature is new to its Datastream' USING ERRCODE = 'TS001';
    END IF;
    INSERT INTO observation (id, t, result, datastream_id, feature_id, t_end, result_time, kind, extra)
    SELECT u.id, u.t, nullif(u.result, 'NaN'), u.d, coalesce(nullif(u.f, 0), made[array_position(streams, u.d)]),
           nullif(u.e, none), nullif(u.r, none), nullif(u.kind, ' ')::"char", u.extra::jsonb
    FROM unnest(ids, times, results, datastreams, features, ends, result_times, string_to_array(kinds, NULL), extras)
        AS u(id, t, result, d, f, e, r, kind, extra);
    UPDATE datastream_stat s SET
        n = s.n + a.n,
        t_min = least(s.t_min, a.t_min), t_max = greatest(s.t_max, a.t_max),
        r_min = least(s.r_min, a.r_min), r_max = greatest(s.r_max, a.r_max),
        -- The row that `$orderby=phenomenonTime desc` gives first: greatest time, then lowest id.
        latest_t = greatest(s.latest_t, a.latest_t),
        latest_id = CASE
            WHEN s.latest_t IS NULL OR a.latest_t > s.latest_t THEN a.latest_id
            WHEN a.latest_t = s.latest_t THEN least(s.latest_id, a.latest_id)
            ELSE s.latest_id
        END
    FROM (
        SELECT u.d, count(*) AS n, min(u.t) AS t_min, max(greatest(u.t, nullif(u.e, none))) AS t_max,
               min(nullif(u.r, none)) AS r_min, max(nullif(u.r, none)) AS r_max,
               max(u.t) AS latest_t, (array_agg(u.id ORDER BY u.t DESC, u.id))[1] AS latest_id
        FROM unnest(datastreams, ids, times, ends, result_times) AS u(d, id, t, e, r)
        GROUP BY u.d
    ) a
    WHERE s.datastream_id = a.d;
    FOR i IN 1 .. cardinality(shards) LOOP
        UPDATE outbox_head h SET seq = h.seq + 1, waiting_bytes = h.waiting_bytes + octet_length(payloads[i])
        WHERE h.shard = shards[i] RETURNING h.seq INTO next_seq;
        INSERT INTO outbox (shard, seq, payload) VALUES (shards[i], next_seq, payloads[i]);
    END LOOP;
END $$
