import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;

/** Counts input records and prints a line `<name> <wall s since the JVM began> <CPU s of the process>` at the first,
 *  the one in the middle and the last of them. One stream thread, so nothing is shared. */
final class Meter {
    private static final OperatingSystemMXBean SYSTEM =
        (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private final long total;
    private long seen;

    Meter(long total) {
        this.total = total;
    }

    void one() {
        seen++;
        if (seen == 1) {
            print("first");
        } else if (seen == total / 2) {
            print("half");
        } else if (seen == total) {
            print("end");
        }
    }

    private static void print(String name) {
        double wall = (System.currentTimeMillis() - ManagementFactory.getRuntimeMXBean().getStartTime()) / 1e3;
        System.out.printf("%s %.4f %.4f%n", name, wall, SYSTEM.getProcessCpuTime() / 1e9);
        System.out.flush();
    }
}
