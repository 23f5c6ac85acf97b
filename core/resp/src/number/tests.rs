//! Tables and twins for the number rules.

use super::*;
use proptest::prelude::*;

fn text(value: f64) -> String {
    FloatText::new(value).to_string()
}

fn text_17g(value: f64) -> String {
    let mut out = Vec::new();
    format_f64_17g(value, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn integers_are_strict() {
    let good: &[(&str, i64)] =
        &[("0", 0), ("7", 7), ("-7", -7), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)];
    for (text, want) in good {
        assert_eq!(parse_i64(text.as_bytes()), Some(*want), "{text}");
    }
    for text in [
        "",
        "-",
        "-0",
        "+1",
        "01",
        "-01",
        "00",
        " 1",
        "1 ",
        "1a",
        "0x1",
        "1.0",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "١",
    ] {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
    }
    assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
    for text in ["", "-1", "00", "18446744073709551616", "184467440737095516150"] {
        assert_eq!(parse_u64(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn doubles_read_as_strtod_reads_them() {
    let good: &[(&str, f64)] = &[
        ("0", 0.0),
        ("-0", -0.0),
        ("+1", 1.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        ("007", 7.0),
        ("inf", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("+INF", f64::INFINITY),
        ("0x10", 16.0),
        ("0x1.8p1", 3.0),
        ("-0X.8", -0.5),
        ("0x1p-1074", f64::from_bits(1)),
        ("0e400", 0.0),
        ("0.000e-999", 0.0),
        ("1.7976931348623157e308", f64::MAX),
        ("4.9406564584124654e-324", f64::from_bits(1)),
        ("0x1.fffffffffffffp1023", f64::MAX),
        ("0x1.fffffffffffff8p0", 2.0),
        ("0x1.00000000000008p0", 1.0),
        ("0x1.000000000000080000000000000000001p0", 1.0 + f64::EPSILON),
        ("0x10000000000000000000", 2f64.powi(76)),
    ];
    for (text, want) in good {
        assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(want.to_bits()), "{text}");
    }
    for text in [
        "",
        "-",
        "+",
        ".",
        "e1",
        ".e1",
        "1e",
        "1e+",
        " 1",
        "1 ",
        "1,5",
        "nan",
        "NaN",
        "-nan",
        "infi",
        "0x",
        "0x.",
        "0xp1",
        "1e400",
        "-1e400",
        "1e-400",
        "0x1p1024",
        "0x1p-1080",
        "1f",
        "--1",
        "+-1",
        "1e5.0",
        "1_000",
    ] {
        assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn doubles_print_as_redis_7_2_prints_them() {
    let cases: &[(f64, &str, &str)] = &[
        (0.0, "0", "0"),
        (-0.0, "-0", "-0"),
        (1.0, "1", "1"),
        (3.1, "3.1", "3.1000000000000001"),
        (-2.5, "-2.5", "-2.5"),
        (0.1, "0.1", "0.10000000000000001"),
        (1e15, "1000000000000000", "1000000000000000"),
        (1e17, "100000000000000000", "1e+17"),
        (4e18, "4000000000000000000", "4e+18"),
        (1e19, "1e+19", "1e+19"),
        (1.2345e22, "1.2345e+22", "1.2345e+22"),
        (1e300, "1e+300", "1.0000000000000001e+300"),
        (0.001, "0.001", "0.001"),
        (1e-6, "0.000001", "9.9999999999999995e-07"),
        (1e-7, "1e-7", "9.9999999999999995e-08"),
        (1.5e-7, "1.5e-7", "1.4999999999999999e-07"),
        (123.456, "123.456", "123.456"),
        (0.0001234567890123, "1.234567890123e-4", "0.0001234567890123"),
        (f64::MAX, "1.7976931348623157e+308", "1.7976931348623157e+308"),
        (f64::from_bits(1), "5e-324", "4.9406564584124654e-324"),
        (f64::INFINITY, "inf", "inf"),
        (f64::NEG_INFINITY, "-inf", "-inf"),
        (f64::NAN, "nan", "nan"),
    ];
    for (value, shortest, seventeen) in cases {
        assert_eq!(text(*value), *shortest);
        assert_eq!(text_17g(*value), *seventeen);
    }
}

proptest! {
    #[test]
    fn integers_match_the_standard_library(value: i64) {
        prop_assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
    }

    #[test]
    fn integer_texts_are_accepted_only_in_their_own_form(s in "[-+0-9 ]{0,21}") {
        let naive = s.parse::<i64>().ok().filter(|v| v.to_string() == s);
        prop_assert_eq!(parse_i64(s.as_bytes()), naive);
    }

    #[test]
    fn every_double_survives_both_forms(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        prop_assert_eq!(parse_f64(text(value).as_bytes()).map(f64::to_bits), Some(bits));
        prop_assert_eq!(parse_f64(text_17g(value).as_bytes()).map(f64::to_bits), Some(bits));
    }

    #[test]
    fn short_decimals_print_without_noise(whole in -9_999_999i64..9_999_999, hundredths in 1u8..100) {
        prop_assume!(hundredths % 10 != 0);
        let written = format!("{whole}.{hundredths:02}");
        prop_assert_eq!(text(written.parse().unwrap()), written);
    }

    #[test]
    fn hexadecimal_matches_scaling(mantissa in 0u64..1 << 53, exponent in -1000i64..900) {
        let want = mantissa as f64 * pow2(exponent);
        let got = parse_f64(format!("0x{mantissa:x}p{exponent}").as_bytes());
        prop_assert_eq!(got, Some(want).filter(|v| *v != 0.0 || mantissa == 0));
    }

    #[test]
    fn any_text_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = (parse_f64(&bytes), parse_i64(&bytes), parse_u64(&bytes));
    }
}
