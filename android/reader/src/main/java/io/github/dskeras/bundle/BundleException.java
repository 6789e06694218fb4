package io.github.dskeras.bundle;

import java.io.IOException;

/** Not a bundle, or a damaged one; the message names the part. */
public class BundleException extends IOException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes the exception.
     *
     * @param message one line that names the part
     */
    public BundleException(String message) {
        super(message);
    }

    /**
     * Makes the exception.
     *
     * @param message one line that names the part
     * @param cause what was found
     */
    public BundleException(String message, Throwable cause) {
        super(message, cause);
    }
}
