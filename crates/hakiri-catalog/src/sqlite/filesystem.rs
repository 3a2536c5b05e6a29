//! The folder of the file. The only module of this crate that touches files other than through SQLite.
#![allow(clippy::disallowed_methods)] // it owns the catalog's folder

use std::path::Path;

use hakiri_core::catalog::{CatalogError, CatalogResult};

fn unavailable(reason: String) -> CatalogError {
    CatalogError::Unavailable { reason, retry_after: 0 }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates the folder and refuses it if it is not local.
pub(super) fn prepare(path: &Path) -> CatalogResult<()> {
    let folder = folder(path);
    std::fs::create_dir_all(folder).map_err(|e| {
        unavailable(format!("the catalog's folder {} cannot be created: {}", folder.display(), e.kind()))
    })?;
    local(folder)
}

/// Refuses a file that is missing or not local.
pub(super) fn require(path: &Path) -> CatalogResult<()> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => local(folder(path)),
        Ok(_) => Err(CatalogError::Corrupt(format!("the catalog {} is not a file", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(CatalogError::NotFound(format!("the catalog {}", path.display())))
        }
        Err(e) => Err(unavailable(format!("the catalog {} cannot be opened: {}", path.display(), e.kind()))),
    }
}

/// Whether a write-ahead log with something in it lies beside the file, or may.
pub(super) fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match std::fs::metadata(log) {
        Ok(meta) => meta.len() > 0,
        Err(e) => e.kind() != std::io::ErrorKind::NotFound,
    }
}

/// SQLite's locks need a file system that keeps them: network file systems lose them or pretend.
fn local(folder: &Path) -> CatalogResult<()> {
    match network(folder) {
        Some(name) => Err(unavailable(format!(
            "the catalog's folder {} is on a network file system ({name}), whose locks cannot be trusted; keep it on a local disk",
            folder.display()
        ))),
        None => Ok(()),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn network(folder: &Path) -> Option<&'static str> {
    // A folder that cannot be asked about is left to SQLite.
    let stat = rustix::fs::statfs(folder).ok()?;
    // The type's width and sign differ between architectures; the magic numbers are 32 bits.
    network_name((i128::from(stat.f_type) & 0xffff_ffff) as u32)
}

#[cfg(target_vendor = "apple")]
fn network(folder: &Path) -> Option<&'static str> {
    const MNT_LOCAL: u32 = 0x1000;
    let stat = rustix::fs::statfs(folder).ok()?;
    (stat.f_flags & MNT_LOCAL == 0).then_some("not a local volume")
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn network(_folder: &Path) -> Option<&'static str> {
    None
}

/// File systems by the magic number of `statfs`. FUSE and 9p are not among them: both are used for local disks of
/// containers and virtual machines as well, and which of the two cannot be told.
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code))] // only these have the numbers
fn network_name(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x0000_6969 => "NFS",
        0x0000_517b | 0xfe53_4d42 | 0xff53_4d42 => "SMB",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x0000_564c => "NCP",
        0x00c3_6400 => "Ceph",
        0x0bd0_0bd0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x7461_636f => "OCFS2",
        0x0116_1970 => "GFS2",
        0x1983_0326 => "BeeGFS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_and_local_ones_pass() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xff53_4d42), Some("SMB"));
        for ext4_tmpfs_overlay_9p in [0xef53, 0x0102_1994, 0x794c_7630, 0x0102_1997] {
            assert_eq!(network_name(ext4_tmpfs_overlay_9p), None);
        }
        assert_eq!(local(&std::env::temp_dir()), Ok(()));
    }
}
