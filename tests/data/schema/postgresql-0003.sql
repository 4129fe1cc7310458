CREATE FUNCTION public.obs_write(ids bigint[], times bigint[], results double precision[], datastreams integer[], features integer[], ends bigint[], result_times bigint[], kinds text, extras text[], streams integer[], versions integer[], shards integer[], payloads bytea[], outbox_bytes_max bigint) RETURNS void
    LANGUAGE plpgsql
    AS $_$
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
END $_$;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.app (
    uid text NOT NULL COLLATE pg_catalog."C",
    system_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    name_key text NOT NULL COLLATE pg_catalog."C",
    wanted text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL COLLATE pg_catalog."C",
    reason text COLLATE pg_catalog."C",
    since bigint NOT NULL,
    deployed integer,
    version integer DEFAULT 1 NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE public.app_revision (
    app_uid text NOT NULL COLLATE pg_catalog."C",
    n integer NOT NULL,
    text text NOT NULL COLLATE pg_catalog."C",
    description text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    plan_hash text COLLATE pg_catalog."C",
    author text NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL
);
CREATE TABLE public.app_source (
    app_uid text NOT NULL COLLATE pg_catalog."C",
    n integer NOT NULL,
    system_id bigint NOT NULL,
    grant_id text COLLATE pg_catalog."C"
);
CREATE TABLE public.archive_dead (
    id bigint NOT NULL,
    topic text NOT NULL COLLATE pg_catalog."C",
    partition integer NOT NULL,
    topic_uuid text NOT NULL COLLATE pg_catalog."C",
    "offset" bigint NOT NULL,
    timestamp_ms bigint NOT NULL,
    reason text NOT NULL COLLATE pg_catalog."C",
    message text NOT NULL COLLATE pg_catalog."C",
    key bytea,
    value bytea,
    value_bytes bigint NOT NULL,
    headers jsonb,
    state text DEFAULT 'open'::text NOT NULL COLLATE pg_catalog."C",
    version integer DEFAULT 1 NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE public.archive_offset (
    topic text NOT NULL COLLATE pg_catalog."C",
    partition integer NOT NULL,
    topic_uuid text NOT NULL COLLATE pg_catalog."C",
    next_offset bigint NOT NULL
);
CREATE TABLE public.campaign (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL COLLATE pg_catalog."C",
    classification text COLLATE pg_catalog."C",
    terms_of_use text NOT NULL COLLATE pg_catalog."C",
    privacy_policy text COLLATE pg_catalog."C",
    creation_time bigint NOT NULL,
    start_time bigint,
    end_time bigint,
    url text COLLATE pg_catalog."C",
    properties jsonb,
    party_id bigint,
    license_id bigint,
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C"
);
CREATE TABLE public.campaign_datastream (
    campaign_id bigint NOT NULL,
    datastream_id bigint NOT NULL
);
CREATE TABLE public.campaign_observation_group (
    campaign_id bigint NOT NULL,
    observation_group_id bigint NOT NULL
);
CREATE TABLE public.company (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    name_key text NOT NULL COLLATE pg_catalog."C",
    display text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL COLLATE pg_catalog."C",
    founder text COLLATE pg_catalog."C",
    limits jsonb,
    settings jsonb,
    version integer DEFAULT 1 NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE public.datastream (
    id bigint NOT NULL,
    kind integer DEFAULT 0 NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL COLLATE pg_catalog."C",
    observation_type text NOT NULL COLLATE pg_catalog."C",
    unit jsonb,
    multi_types jsonb,
    observed_area jsonb,
    properties jsonb,
    thing_id bigint NOT NULL,
    sensor_id bigint NOT NULL,
    log_key text NOT NULL COLLATE pg_catalog."C",
    ended boolean DEFAULT false NOT NULL,
    visibility text COLLATE pg_catalog."C",
    retention_ms bigint,
    registered_by text COLLATE pg_catalog."C",
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C",
    party_id bigint,
    license_id bigint
);
CREATE TABLE public.datastream_feature (
    datastream_id bigint NOT NULL,
    feature_id bigint NOT NULL
);
CREATE TABLE public.datastream_property (
    datastream_id bigint NOT NULL,
    rank integer NOT NULL,
    observed_property_id bigint NOT NULL
);
CREATE TABLE public.datastream_stat (
    datastream_id bigint NOT NULL,
    n bigint DEFAULT 0 NOT NULL,
    t_min bigint,
    t_max bigint,
    r_min bigint,
    r_max bigint,
    bbox_w double precision,
    bbox_s double precision,
    bbox_e double precision,
    bbox_n double precision,
    latest_id bigint,
    latest_t bigint
)
WITH (fillfactor='50');
CREATE TABLE public.dead_datastream (
    datastream_id bigint NOT NULL
);
CREATE TABLE public.entity_name (
    kind text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    entity_id bigint NOT NULL
);
CREATE TABLE public.feature (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL COLLATE pg_catalog."C",
    encoding_type text NOT NULL COLLATE pg_catalog."C",
    feature jsonb,
    properties jsonb,
    gen_location_id bigint,
    bbox_w double precision,
    bbox_s double precision,
    bbox_e double precision,
    bbox_n double precision,
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C"
);
CREATE TABLE public.group_observation (
    observation_group_id bigint NOT NULL,
    observation_id bigint NOT NULL
);
CREATE TABLE public.group_relation (
    observation_group_id bigint NOT NULL,
    relation_id bigint NOT NULL
);
CREATE TABLE public.historical_location (
    id bigint NOT NULL,
    "time" bigint NOT NULL,
    thing_id bigint NOT NULL,
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C"
);
CREATE TABLE public.historical_location_location (
    historical_location_id bigint NOT NULL,
    location_id bigint NOT NULL
);
CREATE TABLE public.id_block (
    name text NOT NULL COLLATE pg_catalog."C",
    next_id bigint NOT NULL
);
CREATE TABLE public.license (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    definition text NOT NULL COLLATE pg_catalog."C",
    description text COLLATE pg_catalog."C",
    logo text COLLATE pg_catalog."C",
    attribution_text text COLLATE pg_catalog."C",
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C"
);
CREATE TABLE public.location (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL COLLATE pg_catalog."C",
    encoding_type text NOT NULL COLLATE pg_catalog."C",
    location jsonb,
    properties jsonb,
    bbox_w double precision,
    bbox_s double precision,
    bbox_e double precision,
    bbox_n double precision,
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C"
);
CREATE TABLE public.observation (
    id bigint NOT NULL,
    t bigint NOT NULL,
    result double precision,
    datastream_id integer NOT NULL,
    feature_id integer,
    t_end bigint,
    result_time bigint,
    kind "char",
    extra jsonb
)
PARTITION BY RANGE (id);
CREATE TABLE public.observation_chunk (
    lo bigint NOT NULL,
    hi bigint NOT NULL,
    t_min bigint,
    t_max bigint,
    closed boolean DEFAULT false NOT NULL
);
CREATE TABLE public.observation_group (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL COLLATE pg_catalog."C",
    purpose text COLLATE pg_catalog."C",
    creation_time bigint NOT NULL,
    end_time bigint,
    terms_of_use text COLLATE pg_catalog."C",
    privacy_policy text COLLATE pg_catalog."C",
    data_quality jsonb,
    properties jsonb,
    party_id bigint,
    license_id bigint,
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C"
);
CREATE VIEW public.observation_ts AS
 SELECT observation.id,
    observation.datastream_id,
    observation.feature_id,
    to_timestamp((((GREATEST(observation.t, '-62135596800000000'::bigint))::numeric / '1000000'::numeric))::double precision) AS phenomenon_time,
    to_timestamp((((GREATEST(observation.t_end, '-62135596800000000'::bigint))::numeric / '1000000'::numeric))::double precision) AS phenomenon_time_end,
    to_timestamp((((GREATEST(observation.result_time, '-62135596800000000'::bigint))::numeric / '1000000'::numeric))::double precision) AS result_time,
    observation.result,
    observation.kind,
    observation.extra
   FROM public.observation;
CREATE TABLE public.observed_property (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    definition text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL COLLATE pg_catalog."C",
    properties jsonb,
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C"
);
CREATE TABLE public.outbox (
    shard integer NOT NULL,
    seq bigint NOT NULL,
    payload bytea NOT NULL
);
CREATE TABLE public.outbox_head (
    shard integer NOT NULL,
    seq bigint NOT NULL,
    waiting_bytes bigint DEFAULT 0 NOT NULL
);
CREATE TABLE public.party (
    id bigint NOT NULL,
    role text NOT NULL COLLATE pg_catalog."C",
    description text COLLATE pg_catalog."C",
    display_name text COLLATE pg_catalog."C",
    auth_id text COLLATE pg_catalog."C",
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C"
);
CREATE TABLE public.relation (
    id bigint NOT NULL,
    role text NOT NULL COLLATE pg_catalog."C",
    description text COLLATE pg_catalog."C",
    external_resource text COLLATE pg_catalog."C",
    properties jsonb,
    subject_id bigint NOT NULL,
    object_id bigint,
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C"
);
CREATE TABLE public.sensor (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL COLLATE pg_catalog."C",
    encoding_type text NOT NULL COLLATE pg_catalog."C",
    metadata jsonb,
    properties jsonb,
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C"
);
CREATE TABLE public.store_info (
    key text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.system (
    id bigint NOT NULL,
    company_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    name_key text NOT NULL COLLATE pg_catalog."C",
    state text NOT NULL COLLATE pg_catalog."C",
    partitions integer NOT NULL,
    retention_ms bigint,
    visibility text DEFAULT 'private'::text NOT NULL COLLATE pg_catalog."C",
    archive_received boolean DEFAULT true NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE public.thing (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    description text NOT NULL COLLATE pg_catalog."C",
    properties jsonb,
    system_id bigint NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    copy_of bigint,
    grant_id text COLLATE pg_catalog."C",
    party_id bigint
);
CREATE TABLE public.thing_location (
    thing_id bigint NOT NULL,
    location_id bigint NOT NULL
);
CREATE TABLE public.transfer_id (
    source text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    source_id text NOT NULL COLLATE pg_catalog."C",
    own_id bigint NOT NULL
);
CREATE TABLE public.transfer_position (
    source text NOT NULL COLLATE pg_catalog."C",
    part text NOT NULL COLLATE pg_catalog."C",
    "position" text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.transfer_range (
    source text NOT NULL COLLATE pg_catalog."C",
    lo bigint NOT NULL,
    n bigint NOT NULL,
    own_lo bigint NOT NULL
);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.app
    ADD CONSTRAINT pk_app PRIMARY KEY (uid);
ALTER TABLE ONLY public.app_revision
    ADD CONSTRAINT pk_app_revision PRIMARY KEY (app_uid, n);
ALTER TABLE ONLY public.app_source
    ADD CONSTRAINT pk_app_source PRIMARY KEY (app_uid, n, system_id);
ALTER TABLE ONLY public.archive_dead
    ADD CONSTRAINT pk_archive_dead PRIMARY KEY (id);
ALTER TABLE ONLY public.archive_offset
    ADD CONSTRAINT pk_archive_offset PRIMARY KEY (topic, partition);
ALTER TABLE ONLY public.campaign
    ADD CONSTRAINT pk_campaign PRIMARY KEY (id);
ALTER TABLE ONLY public.campaign_datastream
    ADD CONSTRAINT pk_campaign_datastream PRIMARY KEY (campaign_id, datastream_id);
ALTER TABLE ONLY public.campaign_observation_group
    ADD CONSTRAINT pk_campaign_observation_group PRIMARY KEY (campaign_id, observation_group_id);
ALTER TABLE ONLY public.company
    ADD CONSTRAINT pk_company PRIMARY KEY (id);
ALTER TABLE ONLY public.datastream
    ADD CONSTRAINT pk_datastream PRIMARY KEY (id);
ALTER TABLE ONLY public.datastream_feature
    ADD CONSTRAINT pk_datastream_feature PRIMARY KEY (datastream_id, feature_id);
ALTER TABLE ONLY public.datastream_property
    ADD CONSTRAINT pk_datastream_property PRIMARY KEY (datastream_id, rank);
ALTER TABLE ONLY public.datastream_stat
    ADD CONSTRAINT pk_datastream_stat PRIMARY KEY (datastream_id);
ALTER TABLE ONLY public.dead_datastream
    ADD CONSTRAINT pk_dead_datastream PRIMARY KEY (datastream_id);
ALTER TABLE ONLY public.entity_name
    ADD CONSTRAINT pk_entity_name PRIMARY KEY (kind, name);
ALTER TABLE ONLY public.feature
    ADD CONSTRAINT pk_feature PRIMARY KEY (id);
ALTER TABLE ONLY public.group_observation
    ADD CONSTRAINT pk_group_observation PRIMARY KEY (observation_group_id, observation_id);
ALTER TABLE ONLY public.group_relation
    ADD CONSTRAINT pk_group_relation PRIMARY KEY (observation_group_id, relation_id);
ALTER TABLE ONLY public.historical_location
    ADD CONSTRAINT pk_historical_location PRIMARY KEY (id);
ALTER TABLE ONLY public.historical_location_location
    ADD CONSTRAINT pk_historical_location_location PRIMARY KEY (historical_location_id, location_id);
ALTER TABLE ONLY public.id_block
    ADD CONSTRAINT pk_id_block PRIMARY KEY (name);
ALTER TABLE ONLY public.license
    ADD CONSTRAINT pk_license PRIMARY KEY (id);
ALTER TABLE ONLY public.location
    ADD CONSTRAINT pk_location PRIMARY KEY (id);
ALTER TABLE ONLY public.observation
    ADD CONSTRAINT pk_observation PRIMARY KEY (id);
ALTER TABLE ONLY public.observation_chunk
    ADD CONSTRAINT pk_observation_chunk PRIMARY KEY (lo);
ALTER TABLE ONLY public.observation_group
    ADD CONSTRAINT pk_observation_group PRIMARY KEY (id);
ALTER TABLE ONLY public.observed_property
    ADD CONSTRAINT pk_observed_property PRIMARY KEY (id);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT pk_outbox PRIMARY KEY (shard, seq);
ALTER TABLE ONLY public.outbox_head
    ADD CONSTRAINT pk_outbox_head PRIMARY KEY (shard);
ALTER TABLE ONLY public.party
    ADD CONSTRAINT pk_party PRIMARY KEY (id);
ALTER TABLE ONLY public.relation
    ADD CONSTRAINT pk_relation PRIMARY KEY (id);
ALTER TABLE ONLY public.sensor
    ADD CONSTRAINT pk_sensor PRIMARY KEY (id);
ALTER TABLE ONLY public.store_info
    ADD CONSTRAINT pk_store_info PRIMARY KEY (key);
ALTER TABLE ONLY public.system
    ADD CONSTRAINT pk_system PRIMARY KEY (id);
ALTER TABLE ONLY public.thing
    ADD CONSTRAINT pk_thing PRIMARY KEY (id);
ALTER TABLE ONLY public.thing_location
    ADD CONSTRAINT pk_thing_location PRIMARY KEY (thing_id, location_id);
ALTER TABLE ONLY public.transfer_id
    ADD CONSTRAINT pk_transfer_id PRIMARY KEY (source, kind, source_id);
ALTER TABLE ONLY public.transfer_position
    ADD CONSTRAINT pk_transfer_position PRIMARY KEY (source, part);
ALTER TABLE ONLY public.transfer_range
    ADD CONSTRAINT pk_transfer_range PRIMARY KEY (source, lo);
ALTER TABLE ONLY public.app
    ADD CONSTRAINT uq_app_system_id_name_key UNIQUE (system_id, name_key);
ALTER TABLE ONLY public.archive_dead
    ADD CONSTRAINT uq_archive_dead_topic_partition_topic_uuid_offset UNIQUE (topic, partition, topic_uuid, "offset");
ALTER TABLE ONLY public.company
    ADD CONSTRAINT uq_company_name_key UNIQUE (name_key);
ALTER TABLE ONLY public.datastream
    ADD CONSTRAINT uq_datastream_copy_of_system_id UNIQUE (copy_of, system_id);
ALTER TABLE ONLY public.datastream
    ADD CONSTRAINT uq_datastream_system_id_log_key UNIQUE (system_id, log_key);
ALTER TABLE ONLY public.feature
    ADD CONSTRAINT uq_feature_gen_location_id UNIQUE (gen_location_id);
ALTER TABLE ONLY public.system
    ADD CONSTRAINT uq_system_name UNIQUE (name);
ALTER TABLE ONLY public.system
    ADD CONSTRAINT uq_system_name_key UNIQUE (name_key);
CREATE INDEX ix_app_source_system_id ON public.app_source USING btree (system_id);
CREATE INDEX ix_app_system_id ON public.app USING btree (system_id);
CREATE INDEX ix_campaign_datastream_datastream_id ON public.campaign_datastream USING btree (datastream_id);
CREATE INDEX ix_campaign_license_id ON public.campaign USING btree (license_id);
CREATE INDEX ix_campaign_observation_group_observation_group_id ON public.campaign_observation_group USING btree (observation_group_id);
CREATE INDEX ix_campaign_party_id ON public.campaign USING btree (party_id);
CREATE INDEX ix_campaign_system_id ON public.campaign USING btree (system_id);
CREATE INDEX ix_datastream_feature_feature_id_datastream_id ON public.datastream_feature USING btree (feature_id, datastream_id);
CREATE INDEX ix_datastream_license_id ON public.datastream USING btree (license_id);
CREATE INDEX ix_datastream_party_id ON public.datastream USING btree (party_id);
CREATE INDEX ix_datastream_property_observed_property_id ON public.datastream_property USING btree (observed_property_id);
CREATE INDEX ix_datastream_sensor_id ON public.datastream USING btree (sensor_id);
CREATE INDEX ix_datastream_system_id ON public.datastream USING btree (system_id);
CREATE INDEX ix_datastream_thing_id ON public.datastream USING btree (thing_id);
CREATE INDEX ix_entity_name_kind_entity_id ON public.entity_name USING btree (kind, entity_id);
CREATE INDEX ix_feature_system_id ON public.feature USING btree (system_id);
CREATE INDEX ix_group_observation_observation_id ON public.group_observation USING btree (observation_id);
CREATE INDEX ix_group_relation_relation_id ON public.group_relation USING btree (relation_id);
CREATE INDEX ix_historical_location_location_location_id ON public.historical_location_location USING btree (location_id);
CREATE INDEX ix_historical_location_system_id ON public.historical_location USING btree (system_id);
CREATE INDEX ix_historical_location_thing_id ON public.historical_location USING btree (thing_id);
CREATE INDEX ix_license_system_id ON public.license USING btree (system_id);
CREATE INDEX ix_location_system_id ON public.location USING btree (system_id);
CREATE INDEX ix_observation_datastream_id_t ON ONLY public.observation USING btree (datastream_id, t);
CREATE INDEX ix_observation_group_license_id ON public.observation_group USING btree (license_id);
CREATE INDEX ix_observation_group_party_id ON public.observation_group USING btree (party_id);
CREATE INDEX ix_observation_group_system_id ON public.observation_group USING btree (system_id);
CREATE INDEX ix_observation_t ON ONLY public.observation USING btree (t);
CREATE INDEX ix_observed_property_system_id ON public.observed_property USING btree (system_id);
CREATE INDEX ix_party_system_id ON public.party USING btree (system_id);
CREATE INDEX ix_relation_object_id ON public.relation USING btree (object_id);
CREATE INDEX ix_relation_subject_id ON public.relation USING btree (subject_id);
CREATE INDEX ix_relation_system_id ON public.relation USING btree (system_id);
CREATE INDEX ix_sensor_system_id ON public.sensor USING btree (system_id);
CREATE INDEX ix_system_company_id ON public.system USING btree (company_id);
CREATE INDEX ix_thing_location_location_id ON public.thing_location USING btree (location_id);
CREATE INDEX ix_thing_party_id ON public.thing USING btree (party_id);
CREATE INDEX ix_thing_system_id ON public.thing USING btree (system_id);
ALTER TABLE ONLY public.app_revision
    ADD CONSTRAINT fk_app_revision_app_uid FOREIGN KEY (app_uid) REFERENCES public.app(uid);
ALTER TABLE ONLY public.app_source
    ADD CONSTRAINT fk_app_source_app_uid_n FOREIGN KEY (app_uid, n) REFERENCES public.app_revision(app_uid, n);
ALTER TABLE ONLY public.app_source
    ADD CONSTRAINT fk_app_source_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.app
    ADD CONSTRAINT fk_app_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.campaign_datastream
    ADD CONSTRAINT fk_campaign_datastream_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaign(id);
ALTER TABLE ONLY public.campaign_datastream
    ADD CONSTRAINT fk_campaign_datastream_datastream_id FOREIGN KEY (datastream_id) REFERENCES public.datastream(id);
ALTER TABLE ONLY public.campaign
    ADD CONSTRAINT fk_campaign_license_id FOREIGN KEY (license_id) REFERENCES public.license(id);
ALTER TABLE ONLY public.campaign_observation_group
    ADD CONSTRAINT fk_campaign_observation_group_campaign_id FOREIGN KEY (campaign_id) REFERENCES public.campaign(id);
ALTER TABLE ONLY public.campaign_observation_group
    ADD CONSTRAINT fk_campaign_observation_group_observation_group_id FOREIGN KEY (observation_group_id) REFERENCES public.observation_group(id);
ALTER TABLE ONLY public.campaign
    ADD CONSTRAINT fk_campaign_party_id FOREIGN KEY (party_id) REFERENCES public.party(id);
ALTER TABLE ONLY public.campaign
    ADD CONSTRAINT fk_campaign_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.datastream
    ADD CONSTRAINT fk_datastream_license_id FOREIGN KEY (license_id) REFERENCES public.license(id);
ALTER TABLE ONLY public.datastream
    ADD CONSTRAINT fk_datastream_party_id FOREIGN KEY (party_id) REFERENCES public.party(id);
ALTER TABLE ONLY public.datastream_property
    ADD CONSTRAINT fk_datastream_property_datastream_id FOREIGN KEY (datastream_id) REFERENCES public.datastream(id);
ALTER TABLE ONLY public.datastream_property
    ADD CONSTRAINT fk_datastream_property_observed_property_id FOREIGN KEY (observed_property_id) REFERENCES public.observed_property(id);
ALTER TABLE ONLY public.datastream
    ADD CONSTRAINT fk_datastream_sensor_id FOREIGN KEY (sensor_id) REFERENCES public.sensor(id);
ALTER TABLE ONLY public.datastream
    ADD CONSTRAINT fk_datastream_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.datastream
    ADD CONSTRAINT fk_datastream_thing_id FOREIGN KEY (thing_id) REFERENCES public.thing(id);
ALTER TABLE ONLY public.feature
    ADD CONSTRAINT fk_feature_gen_location_id FOREIGN KEY (gen_location_id) REFERENCES public.location(id);
ALTER TABLE ONLY public.feature
    ADD CONSTRAINT fk_feature_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.group_observation
    ADD CONSTRAINT fk_group_observation_observation_group_id FOREIGN KEY (observation_group_id) REFERENCES public.observation_group(id);
ALTER TABLE ONLY public.group_relation
    ADD CONSTRAINT fk_group_relation_observation_group_id FOREIGN KEY (observation_group_id) REFERENCES public.observation_group(id);
ALTER TABLE ONLY public.group_relation
    ADD CONSTRAINT fk_group_relation_relation_id FOREIGN KEY (relation_id) REFERENCES public.relation(id);
ALTER TABLE ONLY public.historical_location_location
    ADD CONSTRAINT fk_historical_location_location_historical_location_id FOREIGN KEY (historical_location_id) REFERENCES public.historical_location(id);
ALTER TABLE ONLY public.historical_location_location
    ADD CONSTRAINT fk_historical_location_location_location_id FOREIGN KEY (location_id) REFERENCES public.location(id);
ALTER TABLE ONLY public.historical_location
    ADD CONSTRAINT fk_historical_location_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.historical_location
    ADD CONSTRAINT fk_historical_location_thing_id FOREIGN KEY (thing_id) REFERENCES public.thing(id);
ALTER TABLE ONLY public.license
    ADD CONSTRAINT fk_license_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.location
    ADD CONSTRAINT fk_location_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.observation_group
    ADD CONSTRAINT fk_observation_group_license_id FOREIGN KEY (license_id) REFERENCES public.license(id);
ALTER TABLE ONLY public.observation_group
    ADD CONSTRAINT fk_observation_group_party_id FOREIGN KEY (party_id) REFERENCES public.party(id);
ALTER TABLE ONLY public.observation_group
    ADD CONSTRAINT fk_observation_group_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.observed_property
    ADD CONSTRAINT fk_observed_property_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.party
    ADD CONSTRAINT fk_party_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.relation
    ADD CONSTRAINT fk_relation_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.sensor
    ADD CONSTRAINT fk_sensor_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
ALTER TABLE ONLY public.system
    ADD CONSTRAINT fk_system_company_id FOREIGN KEY (company_id) REFERENCES public.company(id);
ALTER TABLE ONLY public.thing_location
    ADD CONSTRAINT fk_thing_location_location_id FOREIGN KEY (location_id) REFERENCES public.location(id);
ALTER TABLE ONLY public.thing_location
    ADD CONSTRAINT fk_thing_location_thing_id FOREIGN KEY (thing_id) REFERENCES public.thing(id);
ALTER TABLE ONLY public.thing
    ADD CONSTRAINT fk_thing_party_id FOREIGN KEY (party_id) REFERENCES public.party(id);
ALTER TABLE ONLY public.thing
    ADD CONSTRAINT fk_thing_system_id FOREIGN KEY (system_id) REFERENCES public.system(id);
INSERT INTO public.alembic_version (version_num) VALUES ('0003');
