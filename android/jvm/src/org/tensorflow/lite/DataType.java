package org.tensorflow.lite;

/** The types that the inputs and outputs of a bundle's files have, as in LiteRT for Java. */
public enum DataType {
    FLOAT32(1),
    UINT8(3),
    INT8(9);

    private final int code;

    DataType(int code) {
        this.code = code;
    }

    /** The type of a number in LiteRT's C interface. */
    static DataType of(int code) {
        for (DataType type : values()) {
            if (type.code == code) {
                return type;
            }
        }
        throw new IllegalArgumentException("a tensor's type must be 1, 3 or 9, received " + code);
    }
}
