//! Whether a program runs in an image that holds nothing but itself: by its first bytes, as ELF writes them.

/// As many bytes as are looked at: the table of the program's parts stands at its beginning.
pub const HEAD: u64 = 64 * 1024;

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const MACHINE_X86_64: u16 = 62;
/// The part that names the loader, which a program has that is not static.
const PT_INTERP: u32 = 3;

/// Whether it is a static program for Linux on x86-64.
///
/// # Errors
/// What is in the way.
pub fn static_x86_64(bytes: &[u8]) -> Result<(), &'static str> {
    const CUT: &str = "its head cannot be read";
    if !bytes.starts_with(MAGIC) {
        return Err("it is not a program for Linux");
    }
    let byte = |at: usize| bytes.get(at).copied();
    if (byte(4), byte(5)) != (Some(CLASS_64), Some(LITTLE_ENDIAN))
        || number::<2>(bytes, 18) != Some(MACHINE_X86_64.into())
    {
        return Err("it is built for another machine than x86-64");
    }
    let start = number::<8>(bytes, 32).and_then(|at| usize::try_from(at).ok()).ok_or(CUT)?;
    let size = number::<2>(bytes, 54).and_then(|size| usize::try_from(size).ok()).ok_or(CUT)?;
    let count = number::<2>(bytes, 56).and_then(|count| usize::try_from(count).ok()).ok_or(CUT)?;
    for part in 0..count {
        let at = part.checked_mul(size).and_then(|offset| offset.checked_add(start)).ok_or(CUT)?;
        if number::<4>(bytes, at).ok_or(CUT)? == u64::from(PT_INTERP) {
            return Err("it is not static: it needs a loader and libraries that the image does not have");
        }
    }
    Ok(())
}

/// The little-endian number of `N` bytes at a place.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(N)?)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head with parts of these kinds.
    fn program(machine: u16, parts: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..4].copy_from_slice(MAGIC);
        (bytes[4], bytes[5]) = (CLASS_64, LITTLE_ENDIAN);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&u16::try_from(parts.len()).unwrap().to_le_bytes());
        for kind in parts {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 52]);
        }
        bytes
    }

    #[test]
    fn only_a_static_program_of_the_right_machine_will_do() {
        assert_eq!(static_x86_64(&program(MACHINE_X86_64, &[6, 1, 1, 2])), Ok(()));
        let refused = |bytes: &[u8]| static_x86_64(bytes).unwrap_err();
        assert!(refused(&program(MACHINE_X86_64, &[6, PT_INTERP, 1])).contains("not static"));
        assert!(refused(&program(183, &[1])).contains("another machine"));
        let mut short = program(MACHINE_X86_64, &[1]);
        short[4] = 1;
        assert!(refused(&short).contains("another machine"));
        assert!(refused(b"\xcf\xfa\xed\xfe").contains("not a program for Linux"));
        assert!(refused(b"").contains("not a program for Linux"));
    }

    #[test]
    fn a_head_that_is_cut_off_or_points_outside_is_refused() {
        let whole = program(MACHINE_X86_64, &[1, 1]);
        for length in 0..whole.len() - 52 {
            assert!(static_x86_64(&whole[..length]).is_err(), "{length}");
        }
        let mut outside = whole;
        outside[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(static_x86_64(&outside).is_err());
    }

    #[test]
    fn this_program_is_what_is_released() {
        let program = crate::environment::executable().unwrap();
        assert_eq!(static_x86_64(&crate::deploy::folder::head(&program, HEAD).unwrap()), Ok(()));
    }
}
