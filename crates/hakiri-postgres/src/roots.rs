//! The certificate authorities to trust. The only module of this crate that reads a file.
#![allow(clippy::disallowed_methods)] // it owns the file that `sslrootcert` names

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::address::Trust;

/// What is trusted.
#[derive(Debug)]
pub(crate) struct Roots {
    /// As authorities.
    pub(crate) authorities: RootCertStore,
    /// The very certificates of the file, for a server that shows one of them: see `tls`.
    pub(crate) listed: Vec<CertificateDer<'static>>,
}

/// Reads them. Blocks: files of some hundred kilobytes.
pub(crate) fn load(trust: &Trust) -> Result<Roots> {
    match trust {
        Trust::System => {
            let mut authorities = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            // What cannot be read there is left out: the built-in ones do for a machine without any.
            authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Ok(Roots { authorities, listed: Vec::new() })
        }
        Trust::File(path) => {
            let wrong = |what: &str| {
                Error::new(Code::PostgresTls, format!("the file of sslrootcert, {}, {what}", path.display()))
                    .with_hint("name a file with certificates in PEM form, or `system`")
            };
            let pem = std::fs::read(path).map_err(|e| wrong(&format!("cannot be read: {}", e.kind())))?;
            let listed: Vec<_> = CertificateDer::pem_slice_iter(&pem)
                .collect::<Result<_, _>>()
                .map_err(|_| wrong("is not in PEM form"))?;
            let mut authorities = RootCertStore::empty();
            for certificate in &listed {
                authorities.add(certificate.clone()).map_err(|_| wrong("holds a certificate that cannot be used"))?;
            }
            if listed.is_empty() {
                return Err(wrong("holds no certificate"));
            }
            Ok(Roots { authorities, listed })
        }
    }
}
