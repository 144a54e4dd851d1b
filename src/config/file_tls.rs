//! The typed mirror of a provider's `tls`: whom its https trusts.
//!
//! **Shape**: `tls: { ca_file: "${?env.ACME_CA_FILE}", pin_sha256: ["…"], server_name: acme.example }` -> [`Tls`].

use crate::config::fields::{self, Fields, Item, Keys};
use crate::config::file::Decoder;
use crate::config::place::Place;
use crate::config::yaml::Node;

/// Whom the https of a provider trusts. The nodes are templates over `env`; one without a value is as good as left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Where it stands.
    pub place: Place,
    /// A file with the certificates of the authorities that are trusted instead of the public ones.
    pub ca_file: Option<Node>,
    /// Hashes of keys that are trusted.
    pub pin_sha256: Vec<Node>,
    /// The name that is asked for and looked for in the certificate, instead of the endpoint's host.
    pub server_name: Option<Node>,
    /// How taskgate shows who it is.
    pub client_cert: Option<ClientCert>,
}

/// The certificate that taskgate shows, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert {
    /// Where it stands.
    pub place: Place,
    /// A file with the certificate and what leads from it to an authority.
    pub cert_file: Node,
    /// A file with the key.
    pub key_file: Node,
}

impl Decoder<'_> {
    /// The key `tls`.
    pub(crate) fn tls(&mut self, item: Item) -> Tls {
        let mut fields = Fields::open(item, &TLS_KEYS, self.faults);
        let client_cert = fields.take("client_cert").map(|item| {
            let mut fields = Fields::open(item, &CLIENT_CERT_KEYS, self.faults);
            ClientCert {
                cert_file: fields.required_node("cert_file"),
                key_file: fields.required_node("key_file"),
                place: fields.place,
            }
        });
        Tls {
            ca_file: fields.node("ca_file"),
            pin_sha256: fields
                .take("pin_sha256")
                .map(|item| fields::one_or_many(item, self.faults))
                .unwrap_or_default(),
            server_name: fields.node("server_name"),
            client_cert,
            place: fields.place,
        }
    }
}

/// The `tls` of a provider.
pub const TLS_KEYS: Keys = Keys {
    what: "`tls`",
    required: &[],
    optional: &["ca_file", "pin_sha256", "server_name", "client_cert"],
};
/// The `client_cert` of `tls`.
pub const CLIENT_CERT_KEYS: Keys = Keys {
    what: "`client_cert`",
    required: &["cert_file", "key_file"],
    optional: &[],
};
