package io.github.dskeras.bundle;

import java.io.File;
import java.io.IOException;

/**
 * The reader's command line. Exit status 0; 2 with one line "error: ..." where something is wrong.
 *
 * <pre>
 * verify PATH...           one line for each bundle: "ok PATH" or "error: ..."
 * materialize PATH OUTDIR  writes route.tflite, entry_0.tflite, body_0.tflite, ...: every file
 * file PATH NAME OUTFILE   writes one, for example entry_0
 * </pre>
 */
public final class Main {
    private static final String USAGE = "usage: verify PATH... | materialize PATH OUTDIR | file PATH NAME OUTFILE";

    private Main() {}

    /**
     * Runs a command.
     *
     * @param args see the class
     */
    public static void main(String[] args) {
        System.exit(run(args));
    }

    private static int run(String[] args) {
        if (args.length >= 2 && args[0].equals("verify")) {
            int status = 0;
            for (int i = 1; i < args.length; i++) {
                status = Math.max(status, attempt("verify", args[i], null, null));
            }
            return status;
        }
        if (args.length == 3 && args[0].equals("materialize")) {
            return attempt("materialize", args[1], null, args[2]);
        }
        if (args.length == 4 && args[0].equals("file")) {
            return attempt("file", args[1], args[2], args[3]);
        }
        System.err.println("error: " + USAGE);
        return 2;
    }

    private static int attempt(String command, String path, String name, String target) {
        try {
            Bundle bundle = new Bundle(new File(path));
            if (command.equals("verify")) {
                bundle.verify();
                System.out.println("ok " + path);
            } else if (command.equals("file")) {
                new Materializer(bundle).write(name, new File(target));
            } else {
                materialize(bundle, new File(target));
            }
            return 0;
        } catch (IOException | IllegalArgumentException | OutOfMemoryError error) {
            System.err.println("error: " + String.valueOf(error.getMessage()).replaceAll("\\p{Cntrl}", "?"));
            return 2;
        }
    }

    private static void materialize(Bundle bundle, File folder) throws IOException {
        if (!folder.isDirectory() && !folder.mkdirs()) {
            throw new IOException(folder + " cannot be made");
        }
        Materializer materializer = new Materializer(bundle);
        for (String name : bundle.manifest().fileNames()) {
            materializer.write(name, new File(folder, name + ".tflite"));
        }
    }
}
