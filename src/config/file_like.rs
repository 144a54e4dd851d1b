//! Providers that are like another one: several sites of one vendor.
//!
//! **Shape**: `acme-eu: { like: acme, endpoint: … }` -> the provider `acme` with another endpoint.
//!
//! **Invariants**: nodes are put together before anything is read, so that a site knows every key that a provider knows. What
//! a site takes over keeps its place: a fault in it points at the line of the base. The base is read first, so that a fault that
//! both have is said with its name.

use crate::config::diagnostic::did_you_mean;
use crate::config::fields::{Item, Keys, take_text};
use crate::config::file::Decoder;
use crate::config::file_provider::{PROVIDER_KEYS, Provider};
use crate::config::place::Place;
use crate::config::yaml::{Key, Node, NodeValue};

impl Decoder<'_> {
    /// The block `providers`; those that stand on their own come first.
    pub(crate) fn providers(&mut self, members: Vec<(Key, Item)>) -> Vec<Provider> {
        let known: Vec<(String, Node)> = members.iter().map(|(key, item)| (key.text.clone(), item.node.clone())).collect();
        let (sites, bases): (Vec<_>, Vec<_>) = members.into_iter().partition(|(_, item)| item.node.member("like").is_some());
        let mut providers: Vec<Provider> = bases
            .into_iter()
            .map(|(key, item)| self.provider(&key, item, &PROVIDER_KEYS))
            .collect();
        for (key, mut item) in sites {
            let borrowed_actions = item.node.member("actions").is_none();
            if let Some(base) = self.base(&key, &item, &known) {
                item.node = merged(item.node, base);
            }
            // What the base lacks is said there.
            let provider = self.provider(&key, item, &SITE_KEYS);
            providers.push(Provider {
                borrowed_actions,
                ..provider
            });
        }
        providers
    }

    /// The provider that `like` names; nothing after a fault.
    fn base<'n>(&mut self, site: &Key, item: &Item, known: &'n [(String, Node)]) -> Option<&'n Node> {
        let path = item.place.path.key("like");
        let node = item.node.member("like")?.clone();
        let place = Place {
            span: node.span,
            path: path.clone(),
        };
        let name = take_text(Item { place, node }, self.faults)?;
        if name.value == site.text {
            self.faults.fault(name.span, &path, "a provider is not like itself");
            return None;
        }
        let Some((_, base)) = known.iter().find(|(key, _)| *key == name.value) else {
            let near = did_you_mean(
                &name.value,
                known.iter().map(|(key, _)| key.as_str()).filter(|key| *key != site.text),
            );
            self.faults
                .fault(name.span, &path, format!("unknown provider `{}`", name.value.escape_debug()))
                .maybe_hint(near);
            return None;
        };
        if let Some(further) = base.member("like") {
            let hint = further.as_text().map(|further| format!("name `{further}`, which it is like"));
            self.faults
                .fault(name.span, &path, format!("`{}` is itself like another provider", name.value))
                .maybe_hint(hint);
            return None;
        }
        Some(base)
    }
}

/// The entries of a site, then those of its base that the site does not name.
fn merged(site: Node, base: &Node) -> Node {
    let span = site.span;
    let NodeValue::Map(mut entries) = site.value else { return site };
    for (key, node) in base.as_map().unwrap_or_default() {
        if !entries.iter().any(|(own, _)| own.text == key.text) {
            entries.push((key.clone(), node.clone()));
        }
    }
    Node {
        span,
        value: NodeValue::Map(entries),
    }
}

/// One of `providers` that is like another one.
pub const SITE_KEYS: Keys = Keys {
    what: "a provider",
    required: &["like"],
    optional: &[
        "title",
        "endpoint",
        "id",
        "actions",
        "credentials",
        "faults",
        "scope",
        "limits",
        "task",
        "tls",
        "trace",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{GOOD, check, check_lines, read};

    fn with(site: &str) -> String {
        format!("{GOOD}{site}")
    }

    #[test]
    fn a_site_takes_over_what_it_does_not_name() {
        let text = with("  acme-eu:\n    like: acme\n    endpoint: ${env.EU_ENDPOINT}\n    limits: { timeout: 3s }\n");
        check(&text, "");
        let file = read(&text).0.unwrap();
        let [base, site] = file.providers.as_slice() else {
            panic!("two providers")
        };
        assert_eq!(
            (site.name.value.as_str(), site.like.as_ref().unwrap().value.as_str()),
            ("acme-eu", "acme")
        );
        assert_eq!(site.endpoint.as_text(), Some("${env.EU_ENDPOINT}"));
        assert_eq!(
            (&site.title, &site.credentials, &site.faults),
            (&base.title, &base.credentials, &base.faults)
        );
        assert_eq!((site.scope.len(), site.actions.len()), (1, 1));
        assert!(site.borrowed_actions && !base.borrowed_actions);
        // As a whole: nothing of the base's limits remains.
        assert!(site.limits.timeout.is_some() && site.limits.in_flight.is_none());
    }

    #[test]
    fn a_site_may_stand_before_its_base() {
        let site = "providers:\n  eu: { like: acme, title: Europe }\n";
        let text = GOOD.replace("providers:\n", site);
        check(&text, "");
        let file = read(&text).0.unwrap();
        assert_eq!(
            file.providers.iter().map(|p| p.title.value.as_str()).collect::<Vec<_>>(),
            ["Acme", "Europe"]
        );
    }

    #[test]
    fn what_cannot_be_taken_over() {
        check_lines(
            &with("  eu: { like: acne }\n  us: { like: eu }\n  me: { like: me, titel: x }\n  xx: { like: 5 }\n"),
            "error: routes.yaml:48:15: providers.eu.like: unknown provider `acne`\n\
             = hint: did you mean `acme`?\n\
             error: routes.yaml:49:15: providers.us.like: `eu` is itself like another provider\n\
             = hint: name `acne`, which it is like\n\
             error: routes.yaml:50:15: providers.me.like: a provider is not like itself\n\
             error: routes.yaml:50:19: providers.me: unknown key `titel`\n\
             = hint: did you mean `title`?\n\
             error: routes.yaml:51:15: providers.xx.like: expected text, found the number 5\n\
             = hint: write it in quotes",
        );
    }

    #[test]
    fn a_fault_of_the_base_is_said_once_and_with_its_name() {
        let text = with("  eu: { like: acme, limits: { in_flight: 0 } }\n").replace("repeat: same-key", "repeat: twice");
        check_lines(
            &text,
            "error: routes.yaml:32:17: providers.acme.actions.stop.repeat: unknown value `twice`\n\
             = hint: expected `never`, `safe` or `same-key`\n\
             error: routes.yaml:48:42: providers.eu.limits.in_flight: expected a number from 1 to 10000, found 0",
        );
    }

    #[test]
    fn a_site_knows_every_key_of_a_provider() {
        let mut keys: Vec<&str> = PROVIDER_KEYS.all().chain(["like"]).collect();
        let mut known: Vec<&str> = SITE_KEYS.all().collect();
        keys.sort_unstable();
        known.sort_unstable();
        assert_eq!(keys, known);
    }
}
