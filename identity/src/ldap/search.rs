//! What is asked of a directory, and what its entries say. Everything that comes from outside is escaped (RFC 4515).

use std::net::IpAddr;

use ldap3::{SearchEntry, ldap_escape, parse_filter};
use url::{Host, Url};

use super::{LdapOptions, LdapSetupError};

/// A user as the directory has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) dn: String,
    /// The value of the attribute that stays the same.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) mail: Option<String>,
}

/// A group as the directory has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Team {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// Refuses settings that cannot work, or that would send passwords in the open.
pub(super) fn check(options: &LdapOptions) -> Result<(), LdapSetupError> {
    let wrong = || LdapSetupError::Url(options.url.clone());
    let url = Url::parse(&options.url).map_err(|_| wrong())?;
    let here = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        // LDAP is no special scheme of URLs, so addresses come as names.
        Some(Host::Domain(name)) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        None => return Err(wrong()),
    };
    match url.scheme() {
        "ldaps" => {}
        "ldap" if options.start_tls || here => {}
        "ldap" => return Err(LdapSetupError::Open(options.url.clone())),
        _ => return Err(wrong()),
    }
    for filter in [&options.user_filter, &options.group_filter] {
        if !filter.starts_with('(') || parse_filter(filter).is_err() {
            return Err(LdapSetupError::Filter(filter.clone()));
        }
    }
    let attributes = [
        &options.user_id_attribute,
        &options.user_name_attribute,
        &options.user_mail_attribute,
        &options.group_id_attribute,
        &options.group_name_attribute,
        &options.group_member_attribute,
    ];
    for attribute in attributes {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if !attribute.bytes().all(plain) || !attribute.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(LdapSetupError::Attribute(attribute.clone()));
        }
    }
    Ok(())
}

fn and(kind: &str, attribute: &str, value: &str) -> String {
    format!("(&{kind}({attribute}={}))", ldap_escape(value))
}

/// Users of that name; all without one.
pub(super) fn users(options: &LdapOptions, name: Option<&str>) -> String {
    name.map_or_else(|| options.user_filter.clone(), |name| users_named(options, name))
}

pub(super) fn users_named(options: &LdapOptions, name: &str) -> String {
    and(&options.user_filter, &options.user_name_attribute, name)
}

pub(super) fn user_with_id(options: &LdapOptions, id: &str) -> String {
    and(&options.user_filter, &options.user_id_attribute, id)
}

/// Groups of that name; all without one.
pub(super) fn groups(options: &LdapOptions, name: Option<&str>) -> String {
    match name {
        Some(name) => and(&options.group_filter, &options.group_name_attribute, name),
        None => options.group_filter.clone(),
    }
}

/// The groups of somebody.
pub(super) fn groups_of(options: &LdapOptions, person: &Person) -> String {
    let member = if options.members_are_dns {
        &person.dn
    } else {
        &person.name
    };
    and(&options.group_filter, &options.group_member_attribute, member)
}

pub(super) fn user_attributes(options: &LdapOptions) -> Vec<String> {
    vec![
        options.user_id_attribute.clone(),
        options.user_name_attribute.clone(),
        options.user_mail_attribute.clone(),
    ]
}

pub(super) fn group_attributes(options: &LdapOptions) -> Vec<String> {
    vec![options.group_id_attribute.clone(), options.group_name_attribute.clone()]
}

/// An entry that is nobody's, below where users are.
pub(super) fn nobody(options: &LdapOptions) -> String {
    format!(
        "{}=nobody-of-this-name,{}",
        options.user_name_attribute, options.user_base
    )
}

pub(super) fn person(options: &LdapOptions, entry: &SearchEntry) -> Option<Person> {
    Some(Person {
        dn: entry.dn.clone(),
        id: value(entry, &options.user_id_attribute)?,
        name: value(entry, &options.user_name_attribute)?,
        mail: value(entry, &options.user_mail_attribute),
    })
}

pub(super) fn team(options: &LdapOptions, entry: &SearchEntry) -> Option<Team> {
    Some(Team {
        id: value(entry, &options.group_id_attribute)?,
        name: value(entry, &options.group_name_attribute)?,
    })
}

/// The first value of an attribute; names of attributes are compared without case. One that is no text (an object's GUID
/// say) is shown in hex.
fn value(entry: &SearchEntry, attribute: &str) -> Option<String> {
    let text = entry
        .attrs
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(attribute));
    let text = text.and_then(|(_, values)| values.first().cloned());
    let bytes = || {
        let bytes = entry
            .bin_attrs
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(attribute));
        bytes.and_then(|(_, values)| values.first()).map(hex::encode)
    };
    text.or_else(bytes).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> LdapOptions {
        LdapOptions::new("corp", "ldap://127.0.0.1", "ou=people,dc=x")
    }

    #[test]
    fn sec_1_names_cannot_change_a_filter() {
        let filter = users_named(&options(), "*)(uid=admin))(|(uid=\\\0");
        assert_eq!(
            filter,
            "(&(objectClass=inetOrgPerson)(uid=\\2a\\29\\28uid=admin\\29\\29\\28|\\28uid=\\5c\\00))"
        );
        assert!(parse_filter(&filter).is_ok());
    }

    #[test]
    fn sec_1_passwords_do_not_travel_in_the_open() {
        let with = |url: &str, start_tls| LdapOptions {
            url: url.into(),
            start_tls,
            ..options()
        };
        for (url, start_tls) in [
            ("ldap://localhost:389", false),
            ("ldap://127.0.0.1", false),
            ("ldap://[::1]:389", false),
            ("ldap://directory.example", true),
            ("ldaps://directory.example", false),
        ] {
            assert!(check(&with(url, start_tls)).is_ok(), "{url}");
        }
        assert!(matches!(
            check(&with("ldap://directory.example", false)),
            Err(LdapSetupError::Open(_))
        ));
        for url in ["", "http://x", "directory.example", "ldap://"] {
            assert!(matches!(check(&with(url, true)), Err(LdapSetupError::Url(_))), "{url}");
        }
    }

    #[test]
    fn settings_that_are_no_filter_or_attribute_are_refused() {
        for filter in ["", "uid=x", "(uid=x", "(&)x"] {
            let options = LdapOptions {
                user_filter: filter.into(),
                ..options()
            };
            assert!(matches!(check(&options), Err(LdapSetupError::Filter(_))), "{filter}");
        }
        for attribute in ["", "uid)(x", "1", "a b"] {
            let options = LdapOptions {
                user_id_attribute: attribute.into(),
                ..options()
            };
            assert!(
                matches!(check(&options), Err(LdapSetupError::Attribute(_))),
                "{attribute}"
            );
        }
    }
}
