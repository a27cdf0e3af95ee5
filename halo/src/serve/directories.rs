//! Directories of domains as the configuration names them.

use std::time::Duration;

use anyhow::Context;
use identity::{LdapBackends, LdapOptions};
use zeroize::Zeroizing;

use super::parts::read_secret;
use crate::config::{IdentitySection, LdapSection};

/// The directories; none are asked yet.
///
/// # Errors
/// When a file cannot be read or a setting cannot work.
pub(super) fn directories(section: Option<&IdentitySection>) -> anyhow::Result<LdapBackends> {
    let sections = section.map_or(&[][..], |section| &section.ldap);
    let options = sections.iter().map(options).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(LdapBackends::new(&options)?)
}

fn options(section: &LdapSection) -> anyhow::Result<LdapOptions> {
    let usual = LdapOptions::new(&section.domain, &section.url, &section.user_base);
    let ca_pem = section.ca_file.as_ref().map(|path| {
        let read = std::fs::read(path);
        read.with_context(|| format!("cannot read {}", path.display()))
    });
    let password = section.bind_password_file.as_ref().map(|path| read_secret(path));
    let or = |given: &Option<String>, usual: String| given.clone().unwrap_or(usual);
    Ok(LdapOptions {
        start_tls: section.start_tls,
        ca_pem: ca_pem.transpose()?,
        bind_dn: section.bind_dn.clone(),
        bind_password: password
            .transpose()?
            .map(|secret| Zeroizing::new(secret.reveal().to_owned())),
        user_filter: or(&section.user_filter, usual.user_filter),
        user_id_attribute: or(&section.user_id_attribute, usual.user_id_attribute),
        user_name_attribute: or(&section.user_name_attribute, usual.user_name_attribute),
        user_mail_attribute: or(&section.user_mail_attribute, usual.user_mail_attribute),
        group_base: section.group_base.clone(),
        group_filter: or(&section.group_filter, usual.group_filter),
        group_id_attribute: or(&section.group_id_attribute, usual.group_id_attribute),
        group_name_attribute: or(&section.group_name_attribute, usual.group_name_attribute),
        group_member_attribute: or(&section.group_member_attribute, usual.group_member_attribute),
        members_are_dns: section.members_are_dns,
        connections_max: section.connections_max,
        timeout: Duration::from_millis(section.timeout_ms.max(1)),
        entries_max: section.entries_max,
        refresh_every: Duration::from_secs(section.refresh_s.max(1)),
        ..LdapOptions::new(&section.domain, &section.url, &section.user_base)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_needs_three_lines() {
        let section: LdapSection = toml::from_str(
            "domain = \"corp\"\nurl = \"ldaps://directory.example\"\nuser_base = \"ou=people,dc=example\"\n",
        )
        .expect("complete");
        let options = options(&section).expect("nothing to read");
        assert_eq!(
            (options.user_name_attribute.as_str(), options.connections_max),
            ("uid", 4)
        );
        assert!(LdapBackends::new(&[options]).is_ok());
        let open = LdapSection {
            url: "ldap://directory.example".into(),
            ..section
        };
        let open = super::options(&open).expect("nothing to read");
        assert!(
            LdapBackends::new(&[open]).is_err(),
            "passwords would travel in the open"
        );
    }
}
