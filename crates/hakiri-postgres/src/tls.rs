//! What each `sslmode` demands of the server's certificate.
//!
//! rustls verifies chain and name together or not at all, so the weaker modes have a verifier of their own. It is built
//! from rustls's parts for chain, name and signature rather than from an error that is forgiven: what is checked is then
//! what is written here, and not what is left over.

use std::sync::Arc;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::address::{SslMode, Trust};
use crate::roots::{self, Roots};

/// The TLS settings of an address. Blocks: reads certificates.
pub(crate) fn config(mode: SslMode, trust: Option<&Trust>) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let (roots, name) = match (mode, trust) {
        (SslMode::VerifyFull, trust) => (Some(roots::load(trust.unwrap_or(&Trust::System))?), true),
        (SslMode::VerifyCa, trust) => (Some(roots::load(trust.unwrap_or(&Trust::System))?), false),
        // As PostgreSQL's own clients do: who names an authority wants it to be obeyed.
        (SslMode::Require, Some(trust)) => (Some(roots::load(trust)?), false),
        (SslMode::Require | SslMode::Prefer | SslMode::Disable, _) => (None, false),
    };
    let verifier = Verifier { provider: provider.clone(), roots, name };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Error::new(Code::Internal, "the TLS library has no protocol version"))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None: any certificate will do.
    roots: Option<Roots>,
    /// Whether it must be for the host.
    name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        // A server often shows the one certificate that its administrator made and handed out, which is its own
        // authority; a chain may not end like that. To be listed itself is more than to be signed by somebody listed.
        if !roots.listed.iter().any(|listed| listed == end_entity) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, &roots.authorities, intermediates, now, algorithms)?;
        }
        if self.name {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    // That the server holds the certificate's key is checked in every mode.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
