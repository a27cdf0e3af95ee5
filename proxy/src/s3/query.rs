//! A request's query, decoded once.

use percent_encoding::percent_decode_str;

/// The parameters in their order, decoded, beside the text they came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<Parameter>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parameter {
    raw: String,
    name: String,
    value: String,
}

impl Query {
    /// Reads a query. `None` when a name or value is not UTF-8.
    pub(crate) fn parse(text: Option<&str>) -> Option<Self> {
        let parameter = |raw: &str| {
            let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
            Some(Parameter {
                raw: raw.to_owned(),
                name: decoded(name)?,
                value: decoded(value)?,
            })
        };
        let raw = text.unwrap_or_default().split('&').filter(|raw| !raw.is_empty());
        raw.map(parameter).collect::<Option<_>>().map(Self)
    }

    /// Whether the parameter is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|parameter| parameter.name == name)
    }

    /// The values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |parameter| parameter.name == name)
            .map(|parameter| parameter.value.as_str())
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|parameter| parameter.name == name)
            .map(|parameter| parameter.value.as_str())
    }

    /// All names and values.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|parameter| (parameter.name.as_str(), parameter.value.as_str()))
    }

    /// The query without the parameters that `drop` names, as it came; `None` when nothing is left.
    pub(crate) fn without(&self, drop: impl Fn(&str) -> bool) -> Option<String> {
        let kept: Vec<&str> = self
            .0
            .iter()
            .filter(|p| !drop(&p.name))
            .map(|p| p.raw.as_str())
            .collect();
        (!kept.is_empty()).then(|| kept.join("&"))
    }
}

fn decoded(text: &str) -> Option<String> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return percent_decode_str(&spaced)
            .decode_utf8()
            .ok()
            .map(std::borrow::Cow::into_owned);
    }
    percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
