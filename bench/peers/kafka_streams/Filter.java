import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import org.apache.kafka.streams.StreamsBuilder;

/** SELECT * FROM source WHERE result < limit. Arguments: servers, application, commit ms, state folder, records,
 *  source topic, target topic, limit. Headers go on with their record, as Kafka Streams does by itself. */
public final class Filter {
    private static final ObjectReader JSON = new ObjectMapper().readerFor(JsonNode.class);

    private Filter() {
    }

    public static void main(String[] args) throws InterruptedException {
        Meter meter = new Meter(Long.parseLong(args[4]));
        double limit = Double.parseDouble(args[7]);
        StreamsBuilder builder = new StreamsBuilder();
        builder.<byte[], byte[]>stream(args[5])
            .filter((key, value) -> {
                meter.one();
                return result(value) < limit;
            })
            .to(args[6]);
        Peer.run(builder, Peer.settings(args[0], args[1], Long.parseLong(args[2]), args[3]));
    }

    private static double result(byte[] value) {
        try {
            JsonNode tree = JSON.readValue(value);
            JsonNode result = tree.get("result");
            return result == null || !result.isNumber() ? Double.NaN : result.doubleValue();
        } catch (IOException error) {
            return Double.NaN;
        }
    }
}
