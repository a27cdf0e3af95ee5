//! Storage policies as Swift's clients see them: a container names one at its birth and keeps it.

use serde_json::{Value, json};
use store::{PolicyId, PolicyList};

use super::reply::{Refused, bad_request};
use super::request::Ask;

/// The header that names a policy.
pub(crate) const POLICY: &str = "x-storage-policy";

/// The name of a policy; `default` is how policy 0 is shown.
pub(crate) fn name_of(list: &PolicyList, default: &str, policy: PolicyId) -> String {
    if policy == PolicyId::default() {
        return default.to_owned();
    }
    let known = list.get(policy).map(|policy| policy.name.clone());
    known.unwrap_or_else(|| format!("Policy-{}", policy.0))
}

/// The policy that a request names, if it names one.
///
/// # Errors
/// 400 when there is none of that name.
pub(crate) fn asked(ask: &Ask) -> Result<Option<PolicyId>, Refused> {
    let Some(name) = ask.header(POLICY).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if name.eq_ignore_ascii_case(&ask.swift.options.policy) {
        return Ok(Some(PolicyId::default()));
    }
    let list = ask.swift.store.policies();
    let found = list.named(name).map(|policy| Some(policy.id()));
    found.ok_or_else(|| bad_request(format!("Invalid X-Storage-Policy '{name}'")))
}

/// All policies for `/info`.
pub(crate) fn told(list: &PolicyList, default: &str) -> Vec<Value> {
    let first = json!({ "name": default, "aliases": default, "default": true });
    let others = list
        .iter()
        .map(|policy| json!({ "name": policy.name, "aliases": policy.name }));
    std::iter::once(first).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use store::{Policy, PolicyKind};

    use super::*;

    #[test]
    fn the_default_policy_is_told_first_and_each_is_shown_by_its_name() {
        let mut list = PolicyList::default();
        list.push(Policy::new(PolicyId(2), "gold", PolicyKind::Replicated { copies: 4 }).unwrap());
        let names = [0, 2, 3].map(|id| name_of(&list, "Policy-0", PolicyId(id)));
        assert_eq!(names, ["Policy-0", "gold", "Policy-3"]);
        assert_eq!(
            told(&list, "Policy-0"),
            [
                json!({ "name": "Policy-0", "aliases": "Policy-0", "default": true }),
                json!({ "name": "gold", "aliases": "gold" })
            ]
        );
    }
}
