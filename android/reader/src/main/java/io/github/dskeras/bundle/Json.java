package io.github.dskeras.bundle;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A strict JSON parser: UTF-8, no duplicate keys, no NaN or Infinity, nothing behind the value, at most 64 levels deep,
 * whole numbers of at most 19 digits.
 */
public final class Json {
    private static final int MAX_DEPTH = 64;
    private static final int MAX_NUMBER = 1000; // characters
    private static final int MAX_DIGITS = 19; // of a whole number, as in Python

    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    /**
     * Parses a JSON value.
     *
     * @param data UTF-8 text
     * @return null, Boolean, Long, Double (a whole number beyond 64 bits too), String, {@code List<Object>}, or
     *     {@code Map<String, Object>} in the order of the text
     * @throws BundleException where the text is not JSON
     */
    public static Object parse(byte[] data) throws BundleException {
        String text;
        try {
            text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(data)).toString();
        } catch (CharacterCodingException error) {
            throw new BundleException("it is not UTF-8", error);
        }
        Json json = new Json(text);
        Object value = json.value(0);
        json.space();
        if (json.at < text.length()) {
            throw json.wrong("nothing behind the value");
        }
        return value;
    }

    private Object value(int depth) throws BundleException {
        if (depth > MAX_DEPTH) {
            throw wrong("at most " + MAX_DEPTH + " levels");
        }
        space();
        char next = peek();
        if (next == '{') {
            return object(depth);
        }
        if (next == '[') {
            return array(depth);
        }
        if (next == '"') {
            return string();
        }
        if (next == '-' || isDigit(next)) {
            return number();
        }
        if (word("null")) {
            return null;
        }
        boolean yes = word("true");
        if (yes || word("false")) {
            return yes;
        }
        throw wrong("a value");
    }

    private Map<String, Object> object(int depth) throws BundleException {
        Map<String, Object> found = new LinkedHashMap<>();
        at++;
        space();
        if (take('}')) {
            return found;
        }
        do {
            space();
            if (peek() != '"') {
                throw wrong("a key");
            }
            String key = string();
            space();
            need(':');
            if (found.containsKey(key)) {
                throw wrong("each key once");
            }
            found.put(key, value(depth + 1));
            space();
        } while (take(','));
        need('}');
        return found;
    }

    private List<Object> array(int depth) throws BundleException {
        List<Object> found = new ArrayList<>();
        at++;
        space();
        if (take(']')) {
            return found;
        }
        do {
            found.add(value(depth + 1));
            space();
        } while (take(','));
        need(']');
        return found;
    }

    private String string() throws BundleException {
        StringBuilder found = new StringBuilder();
        at++;
        while (true) {
            char next = peek();
            if (next < ' ') {
                throw wrong("no control character");
            }
            at++;
            if (next == '"') {
                return found.toString();
            }
            found.append(next == '\\' ? escaped() : next);
        }
    }

    private char escaped() throws BundleException {
        char next = peek();
        at++;
        switch (next) {
            case '"': // stands for itself
            case '\\':
            case '/':
                return next;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                return unicode();
            default:
                throw wrong("an escape");
        }
    }

    private char unicode() throws BundleException {
        int code = 0;
        for (int i = 0; i < 4; i++) {
            char next = peek();
            int digit = next < 128 ? Character.digit(next, 16) : -1;
            if (digit < 0) {
                throw wrong("four hexadecimal digits");
            }
            code = 16 * code + digit;
            at++;
        }
        return (char) code;
    }

    private Object number() throws BundleException {
        int start = at;
        take('-');
        if (!take('0')) {
            digits();
        }
        boolean whole = true;
        if (take('.')) {
            whole = false;
            digits();
        }
        if (take('e') || take('E')) {
            whole = false;
            if (!take('+')) {
                take('-');
            }
            digits();
        }
        if (at - start > MAX_NUMBER) {
            throw wrong("numbers of at most " + MAX_NUMBER + " characters");
        }
        String found = text.substring(start, at);
        if (whole && found.length() - (found.charAt(0) == '-' ? 1 : 0) > MAX_DIGITS) {
            throw wrong("whole numbers of at most " + MAX_DIGITS + " digits");
        }
        if (whole) {
            try {
                return Long.valueOf(found);
            } catch (NumberFormatException error) {
                return Double.valueOf(found); // beyond 64 bits: no whole number that a bundle has a use for
            }
        }
        return Double.valueOf(found);
    }

    private void digits() throws BundleException {
        if (!isDigit(peek())) {
            throw wrong("a digit");
        }
        while (at < text.length() && isDigit(text.charAt(at))) {
            at++;
        }
    }

    private void space() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private boolean word(String word) {
        boolean found = text.startsWith(word, at);
        at += found ? word.length() : 0;
        return found;
    }

    private boolean take(char wanted) {
        boolean found = at < text.length() && text.charAt(at) == wanted;
        at += found ? 1 : 0;
        return found;
    }

    private void need(char wanted) throws BundleException {
        if (!take(wanted)) {
            throw wrong("'" + wanted + "'");
        }
    }

    private char peek() throws BundleException {
        if (at >= text.length()) {
            throw wrong("more text");
        }
        return text.charAt(at);
    }

    private static boolean isDigit(char c) {
        return c >= '0' && c <= '9';
    }

    private BundleException wrong(String what) {
        return new BundleException("JSON must have " + what + " at character " + at);
    }
}
