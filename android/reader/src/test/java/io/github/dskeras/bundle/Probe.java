package io.github.dskeras.bundle;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;

/** What {@code tests/android/test_reader.py} asks beyond the command line: half conversions, routing, boxes, many bundles at once. */
final class Probe {
    private Probe() {}

    public static void main(String[] args) throws IOException {
        switch (args[0]) {
            case "widen":
                widen(args[1], args[2]);
                break;
            case "narrow":
                narrow(args[1], args[2]);
                break;
            case "graphs":
                graphs(args[1]);
                break;
            case "cache":
                cache(args);
                break;
            case "boxes":
                boxes(args);
                break;
            case "classes":
                classes(args[1]);
                break;
            default:
                route(args);
        }
    }

    /** Big-endian halves to floats. */
    private static void widen(String from, String to) throws IOException {
        try (DataInputStream in = input(from); DataOutputStream out = output(to)) {
            while (true) {
                out.writeInt(Float.floatToRawIntBits(Half.toFloat(in.readShort())));
            }
        } catch (EOFException end) {
            return;
        }
    }

    /** Big-endian floats to halves. */
    private static void narrow(String from, String to) throws IOException {
        try (DataInputStream in = input(from); DataOutputStream out = output(to)) {
            while (true) {
                out.writeShort(Half.fromFloat(Float.intBitsToFloat(in.readInt())));
            }
        } catch (EOFException end) {
            return;
        }
    }

    /** Files one after another, each behind its length: a line for each, "ok" or what is wrong with its graph. */
    private static void graphs(String from) throws IOException {
        try (DataInputStream in = input(from)) {
            while (true) {
                byte[] file = new byte[in.readInt()];
                in.readFully(file);
                String found = "ok";
                try {
                    Graph.check(file);
                } catch (BundleException error) {
                    found = error.getMessage();
                }
                System.out.println(found);
            }
        } catch (EOFException end) {
            return;
        }
    }

    /** boxes FILE COUNT CLASSES THRESHOLD IOU MOST: what is chosen of so many boxes and scores, a line for each; then the confidences in them. */
    private static void boxes(String[] args) throws IOException {
        int count = Integer.parseInt(args[2]);
        float[] boxes = new float[4 * count];
        float[] scores = new float[Integer.parseInt(args[3]) * count];
        try (DataInputStream in = input(args[1])) {
            for (float[] values : new float[][] {boxes, scores}) {
                for (int i = 0; i < values.length; i++) {
                    values[i] = in.readFloat();
                }
            }
        }
        float[] limits = {Float.parseFloat(args[4]), Float.parseFloat(args[5])};
        List<Boxes.Box> found = Boxes.choose(boxes, scores, limits[0], limits[1], Integer.parseInt(args[6]));
        for (Boxes.Box box : found) {
            String sides = box.left + " " + box.top + " " + box.right + " " + box.bottom;
            System.out.println(box.kind + " " + box.score + " " + sides);
        }
        for (String name : Doubt.CONFIDENCES) {
            System.out.print(Doubt.confidence(found, name) + " ");
        }
        System.out.println();
    }

    /** classes BUNDLE: "ok", or that another number of classes is named than the graph gives. */
    private static void classes(String path) throws BundleException {
        Bundle bundle = new Bundle(new File(path));
        String found = "ok";
        try {
            bundle.checkClasses();
        } catch (BundleException error) {
            found = error.getMessage();
        }
        System.out.println(found);
    }

    /** cache FOLDER BUNDLE...: verifies each, writes its files to FOLDER/NAME; a line for each: "ok" or what is wrong. */
    private static void cache(String[] args) throws IOException {
        for (int i = 2; i < args.length; i++) {
            String found = "ok";
            try {
                Bundle bundle = new Bundle(new File(args[i]));
                bundle.verify();
                Materializer materializer = new Materializer(bundle);
                File folder = new File(args[1], new File(args[i]).getName());
                if (!folder.mkdir()) {
                    throw new IOException(folder + " cannot be made");
                }
                for (String name : bundle.manifest().fileNames()) {
                    materializer.write(name, new File(folder, name + ".tflite"));
                }
            } catch (BundleException error) { // anything else is a crash
                found = error.getMessage();
            }
            System.out.println(found);
        }
    }

    /**
     * route BUNDLE, then "gate SHIFT LOGITS", "cascade THRESHOLD LOGITS", "knobs POLICY -", "budget POLICY FRACTION" or
     * "times POLICY MILLISECONDS,START,JUDGE,BODIES" or
     * "files POLICY -": one line for each.
     */
    private static void route(String[] args) throws IOException {
        Bundle bundle = new Bundle(new File(args[1]));
        Router router = new Router(bundle.manifest());
        for (int i = 2; i < args.length; i += 3) {
            String found;
            try {
                if (args[i].equals("budget")) {
                    found = Arrays.toString(router.knobsAt(args[i + 1], Double.parseDouble(args[i + 2])));
                } else if (args[i].equals("times")) {
                    double[] ms = Arrays.stream(args[i + 2].split(",")).mapToDouble(Double::parseDouble).toArray();
                    double[] bodies = Arrays.copyOfRange(ms, 3, ms.length);
                    found = Arrays.toString(router.knobsAtMilliseconds(args[i + 1], ms[0], ms[1], bodies, ms[2]));
                } else if (args[i].equals("files")) {
                    boolean level = args[i + 1].matches("-?\\d+");
                    Object policy = level ? (Object) Integer.valueOf(args[i + 1]) : args[i + 1];
                    found = bundle.manifest().fileNames(policy).toString();
                } else if (args[i].equals("knobs")) {
                    found = Arrays.toString(router.knobs(args[i + 1]));
                } else {
                    float knob = Float.parseFloat(args[i + 1]);
                    float[] logits = floats(args[i + 2]);
                    boolean gate = args[i].equals(Router.GATE);
                    found = gate ? "" + router.gateLevel(logits, knob) : "" + Router.isSure(logits, knob);
                }
            } catch (IllegalArgumentException error) {
                found = error.getMessage();
            }
            System.out.println(found);
        }
    }

    private static float[] floats(String text) {
        String[] words = text.split(",");
        float[] found = new float[words.length];
        for (int i = 0; i < found.length; i++) {
            found[i] = Float.parseFloat(words[i]);
        }
        return found;
    }

    private static DataInputStream input(String path) throws IOException {
        return new DataInputStream(new BufferedInputStream(new FileInputStream(path)));
    }

    private static DataOutputStream output(String path) throws IOException {
        return new DataOutputStream(new BufferedOutputStream(new FileOutputStream(path)));
    }
}
