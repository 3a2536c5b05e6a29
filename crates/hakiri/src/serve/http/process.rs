//! What the system knows of this process: the one place that reads `/proc/self`.

#![allow(clippy::disallowed_methods)] // this is that place

/// Bytes of memory that are resident.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// File descriptors that are open.
pub fn open_descriptors() -> Option<u64> {
    // The listing itself holds one.
    std::fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_descriptors() {
        assert!(resident_bytes().is_some_and(|b| b > 1 << 20));
        let before = open_descriptors().unwrap();
        assert!(before >= 3);
    }
}
