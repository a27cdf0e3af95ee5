//! The kinds of things the API keeps, and the fields of each.

use crate::row;

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// 1 to so many characters, not only blanks.
    Name(usize),
    /// Any text of bounded length, or null.
    Text,
    /// An id: letters, digits, `-`, `_`.
    Id,
    /// An id or null.
    IdOrNull,
    Bool,
    /// A number from -1.
    Limit,
    /// `public`, `internal` or `admin`.
    Interface,
    /// An http(s) URL, with `$(project_id)s` and the like.
    Url,
    /// An object.
    Options,
    /// A list of texts.
    Tags,
}

/// Whether a field must, may or cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// At creation; may be changed.
    Required,
    /// At creation only.
    Fixed,
    /// At any time.
    Optional,
}

/// One field.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) given: Given,
}

/// One kind of thing.
pub(crate) struct Kind {
    /// The name of one in documents.
    pub(crate) one: &'static str,
    /// The name of several, and the path.
    pub(crate) many: &'static str,
    /// What sentences call it.
    pub(crate) called: &'static str,
    pub(crate) table: &'static str,
    pub(crate) fields: &'static [Field],
    /// Whether fields nobody knows are kept, as Keystone does for some kinds.
    pub(crate) keeps_unknown: bool,
}

const fn field(name: &'static str, shape: Shape, given: Given) -> Field {
    Field { name, shape, given }
}

use Given::{Fixed, Optional, Required};

pub(crate) const DOMAIN: Kind = Kind {
    one: "domain",
    many: "domains",
    called: "domain",
    table: row::DOMAINS,
    fields: &[
        field("name", Shape::Name(64), Required),
        field("description", Shape::Text, Optional),
        field("enabled", Shape::Bool, Optional),
        field("tags", Shape::Tags, Optional),
        field("options", Shape::Options, Optional),
        field("explicit_domain_id", Shape::Id, Fixed),
    ],
    keeps_unknown: true,
};

pub(crate) const PROJECT: Kind = Kind {
    one: "project",
    many: "projects",
    called: "project",
    table: row::PROJECTS,
    fields: &[
        field("name", Shape::Name(64), Required),
        field("description", Shape::Text, Optional),
        field("enabled", Shape::Bool, Optional),
        field("domain_id", Shape::IdOrNull, Fixed),
        field("parent_id", Shape::IdOrNull, Fixed),
        field("is_domain", Shape::Bool, Fixed),
        field("tags", Shape::Tags, Optional),
        field("options", Shape::Options, Optional),
    ],
    keeps_unknown: true,
};

pub(crate) const USER: Kind = Kind {
    one: "user",
    many: "users",
    called: "user",
    table: row::USERS,
    fields: &[
        field("name", Shape::Name(255), Required),
        field("domain_id", Shape::Id, Fixed),
        field("default_project_id", Shape::IdOrNull, Optional),
        field("description", Shape::Text, Optional),
        field("enabled", Shape::Bool, Optional),
        field("password", Shape::Text, Optional),
        field("options", Shape::Options, Optional),
    ],
    keeps_unknown: true,
};

pub(crate) const GROUP: Kind = Kind {
    one: "group",
    many: "groups",
    called: "group",
    table: row::GROUPS,
    fields: &[
        field("name", Shape::Name(64), Required),
        field("domain_id", Shape::Id, Fixed),
        field("description", Shape::Text, Optional),
    ],
    keeps_unknown: true,
};

pub(crate) const ROLE: Kind = Kind {
    one: "role",
    many: "roles",
    called: "role",
    table: row::ROLES,
    fields: &[
        field("name", Shape::Name(255), Required),
        field("domain_id", Shape::IdOrNull, Fixed),
        field("description", Shape::Text, Optional),
        field("options", Shape::Options, Optional),
    ],
    keeps_unknown: true,
};

pub(crate) const REGION: Kind = Kind {
    one: "region",
    many: "regions",
    called: "region",
    table: row::REGIONS,
    fields: &[
        field("id", Shape::Name(255), Fixed),
        field("description", Shape::Text, Optional),
        field("parent_region_id", Shape::IdOrNull, Optional),
    ],
    keeps_unknown: true,
};

pub(crate) const SERVICE: Kind = Kind {
    one: "service",
    many: "services",
    called: "service",
    table: row::SERVICES,
    fields: &[
        field("type", Shape::Name(255), Required),
        field("name", Shape::Name(255), Optional),
        field("description", Shape::Text, Optional),
        field("enabled", Shape::Bool, Optional),
    ],
    keeps_unknown: true,
};

pub(crate) const ENDPOINT: Kind = Kind {
    one: "endpoint",
    many: "endpoints",
    called: "endpoint",
    table: row::ENDPOINTS,
    fields: &[
        field("interface", Shape::Interface, Required),
        field("url", Shape::Url, Required),
        field("service_id", Shape::Id, Required),
        field("region_id", Shape::IdOrNull, Optional),
        field("region", Shape::IdOrNull, Optional),
        field("name", Shape::Text, Optional),
        field("description", Shape::Text, Optional),
        field("enabled", Shape::Bool, Optional),
    ],
    keeps_unknown: true,
};

pub(crate) const REGISTERED_LIMIT: Kind = Kind {
    one: "registered_limit",
    many: "registered_limits",
    called: "registered limit",
    table: row::REGISTERED_LIMITS,
    fields: &[
        field("service_id", Shape::Id, Required),
        field("region_id", Shape::IdOrNull, Optional),
        field("resource_name", Shape::Name(255), Required),
        field("default_limit", Shape::Limit, Required),
        field("description", Shape::Text, Optional),
    ],
    keeps_unknown: false,
};

pub(crate) const LIMIT: Kind = Kind {
    one: "limit",
    many: "limits",
    called: "limit",
    table: row::LIMITS,
    fields: &[
        field("project_id", Shape::IdOrNull, Fixed),
        field("domain_id", Shape::IdOrNull, Fixed),
        field("service_id", Shape::Id, Fixed),
        field("region_id", Shape::IdOrNull, Fixed),
        field("resource_name", Shape::Name(255), Fixed),
        field("resource_limit", Shape::Limit, Required),
        field("description", Shape::Text, Optional),
    ],
    keeps_unknown: false,
};
