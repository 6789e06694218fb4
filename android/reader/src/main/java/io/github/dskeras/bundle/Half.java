package io.github.dskeras.bundle;

/** Half precision (IEEE 754 binary16) to float and back, bit by bit. */
public final class Half {
    private Half() {}

    /**
     * Widens a half; every half is a float.
     *
     * @param half its sixteen bits
     * @return the same number, infinity or NaN
     */
    public static float toFloat(short half) {
        int sign = (half & 0x8000) << 16;
        int exponent = half >> 10 & 0x1f;
        int fraction = half & 0x3ff;
        if (exponent == 0x1f) { // infinity, NaN
            return Float.intBitsToFloat(sign | 0x7f800000 | fraction << 13);
        }
        if (exponent == 0) { // zero, subnormal: fraction x 2^-24, exact in a float
            float value = fraction * 0x1p-24f;
            return sign == 0 ? value : -value;
        }
        return Float.intBitsToFloat(sign | exponent + 112 << 23 | fraction << 13); // bias 127 instead of 15
    }

    /**
     * Rounds a float to the nearest half, ties to even.
     *
     * @param value any float
     * @return sixteen bits of the half; infinity from 65520 on, NaN for NaN
     */
    public static short fromFloat(float value) {
        int bits = Float.floatToRawIntBits(value);
        int sign = bits >>> 16 & 0x8000;
        int magnitude = bits & 0x7fffffff;
        if (magnitude > 0x7f800000) { // NaN: keeps the upper bits, and stays a NaN
            return (short) (sign | 0x7e00 | magnitude >> 13 & 0x3ff);
        }
        if (magnitude >= 0x477ff000) { // 65520 and above
            return (short) (sign | 0x7c00);
        }
        if (magnitude < 0x33000000) { // below 2^-25, half the smallest subnormal
            return (short) sign;
        }
        int exponent = magnitude >> 23;
        if (exponent < 113) { // below 2^-14: a subnormal half, in units of 2^-24
            int fraction = magnitude & 0x7fffff | 0x800000;
            return (short) (sign | rounded(fraction, 126 - exponent));
        }
        return (short) (sign | rounded(magnitude - (112 << 23), 13)); // a carry goes on into the exponent
    }

    /** value / 2^shift, to the nearest whole number, ties to even. */
    private static int rounded(int value, int shift) {
        int whole = value >>> shift;
        int rest = value & (1 << shift) - 1;
        int tie = 1 << shift - 1;
        return rest > tie || rest == tie && (whole & 1) == 1 ? whole + 1 : whole;
    }
}
