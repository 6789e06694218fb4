package io.github.dskeras.bundle;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/** Checks of decoded JSON: type and range, with one message for what was expected and what was found. */
final class Check {
    static final int MAX_SIDE = 1 << 16;
    static final long MAX_COUNT = 1L << 31;

    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}");
    private static final Pattern HASH = Pattern.compile("[0-9a-f]{64}");

    private Check() {}

    static void need(boolean condition, String what, Object received) throws BundleException {
        if (!condition) {
            String text = String.valueOf(received).replaceAll("\\p{Cntrl}", "?");
            text = text.length() < 200 ? text : text.substring(0, 200) + "...";
            throw new BundleException("it must have " + what + ", received " + text);
        }
    }

    /** A field of an object; a missing one is an error, null is a value. */
    static Object field(Map<String, Object> object, String key) throws BundleException {
        if (!object.containsKey(key)) {
            throw new BundleException("'" + key + "' is missing");
        }
        return object.get(key);
    }

    @SuppressWarnings("unchecked") // Json makes no other maps
    static Map<String, Object> object(Object value, String what) throws BundleException {
        need(value instanceof Map, what + ": an object", value);
        return (Map<String, Object>) value;
    }

    @SuppressWarnings("unchecked") // Json makes no other lists
    static List<Object> list(Object value, String what) throws BundleException {
        need(value instanceof List, what + ": a list", value);
        return (List<Object>) value;
    }

    static String string(Object value, String what) throws BundleException {
        need(value instanceof String, what, value);
        return (String) value;
    }

    static long whole(Object value, long low, long high) throws BundleException {
        boolean fits = value instanceof Long && low <= (Long) value && (Long) value <= high;
        need(fits, "whole numbers in [" + low + ", " + high + "]", value);
        return (Long) value;
    }

    static List<Double> numbers(Object value, int count) throws BundleException {
        String what = "lists of " + count + " finite numbers";
        need(value instanceof List && ((List<?>) value).size() == count, what, value);
        List<Double> found = new ArrayList<>();
        for (Object number : (List<?>) value) {
            double finite = number instanceof Number ? ((Number) number).doubleValue() : Double.NaN;
            need(!Double.isNaN(finite) && !Double.isInfinite(finite), what, value);
            found.add(finite);
        }
        return Collections.unmodifiableList(found);
    }

    static long[] shape(Object value, long high) throws BundleException {
        List<Object> sides = list(value, "shapes");
        need(!sides.isEmpty() && sides.size() <= 4, "shapes of up to four axes", value);
        long[] shape = new long[sides.size()];
        for (int i = 0; i < shape.length; i++) {
            shape[i] = whole(sides.get(i), 1, high);
        }
        return shape;
    }

    /** Elements of a shape; anything beyond {@code MAX_COUNT} counts as just above it, so that nothing overflows. */
    static long elements(long[] shape) {
        long count = 1;
        for (long side : shape) {
            count = side > MAX_COUNT / count ? MAX_COUNT + 1 : count * side;
            if (count > MAX_COUNT) {
                return MAX_COUNT + 1;
            }
        }
        return count;
    }

    static String hash(Object value) throws BundleException {
        need(value instanceof String && HASH.matcher((String) value).matches(), "sha256 hashes", value);
        return (String) value;
    }

    static boolean isName(String name) {
        return NAME.matcher(name).matches();
    }
}
