package org.tensorflow.lite;

/** An input or output of a file, as in LiteRT for Java. */
public interface Tensor {
    DataType dataType();

    int numBytes();
}
