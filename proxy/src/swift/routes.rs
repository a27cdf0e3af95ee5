//! Every endpoint: level, method, its name in logs, and the action the policy table is asked for.
//!
//! What is not listed here is answered to nobody.

use http::{Method, StatusCode};
use identity::policy::Action;

use super::path::Path;
use super::reply::{Refused, refuse};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// An account.
    Account,
    /// A container.
    Container,
    /// An object.
    Object,
}

impl Level {
    /// The level of a path.
    pub(crate) fn of(path: &Path) -> Self {
        match (&path.container, &path.object) {
            (None, _) => Self::Account,
            (Some(_), None) => Self::Container,
            (Some(_), Some(_)) => Self::Object,
        }
    }

    /// The methods that clients are told of.
    pub(crate) fn methods(self) -> &'static str {
        match self {
            Self::Account => "HEAD, GET, POST, OPTIONS",
            Self::Container => "HEAD, GET, PUT, POST, DELETE, OPTIONS",
            Self::Object => "HEAD, GET, PUT, POST, COPY, DELETE, OPTIONS",
        }
    }
}

/// One endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// What its path names.
    pub level: Level,
    /// The HTTP method.
    pub method: &'static str,
    /// Its name in logs and metrics.
    pub operation: &'static str,
    /// What the policy table is asked for.
    pub action: Action,
}

macro_rules! routes {
    ($($level:ident $method:ident $action:ident = $operation:literal;)+) => {
        /// All endpoints of accounts, containers and objects.
        pub const ROUTES: &[Route] = &[$(Route {
            level: Level::$level,
            method: stringify!($method),
            operation: $operation,
            action: Action::$action,
        }),+];
    };
}

// A copy reads what its path names; what it writes is judged apart.
routes! {
    Account GET ObjectStoreReadAccount = "SwiftListContainers";
    Account HEAD ObjectStoreReadAccount = "SwiftHeadAccount";
    Account POST ObjectStoreWriteAccount = "SwiftPostAccount";
    Account PUT ObjectStoreAdministerAccount = "SwiftPutAccount";
    Account DELETE ObjectStoreAdministerAccount = "SwiftDeleteAccount";
    Account OPTIONS ObjectStoreOpen = "SwiftOptions";
    Container GET ObjectStoreReadContainer = "SwiftListObjects";
    Container HEAD ObjectStoreReadContainer = "SwiftHeadContainer";
    Container PUT ObjectStoreWriteContainer = "SwiftPutContainer";
    Container POST ObjectStoreWriteContainer = "SwiftPostContainer";
    Container DELETE ObjectStoreWriteContainer = "SwiftDeleteContainer";
    Container OPTIONS ObjectStoreOpen = "SwiftOptions";
    Object GET ObjectStoreReadObject = "SwiftGetObject";
    Object HEAD ObjectStoreReadObject = "SwiftHeadObject";
    Object PUT ObjectStoreWriteObject = "SwiftPutObject";
    Object POST ObjectStoreWriteObject = "SwiftPostObject";
    Object DELETE ObjectStoreWriteObject = "SwiftDeleteObject";
    Object COPY ObjectStoreReadObject = "SwiftCopyObject";
    Object OPTIONS ObjectStoreOpen = "SwiftOptions";
}

/// The endpoint of a method and a path.
///
/// # Errors
/// 405 when there is none.
pub(crate) fn find(method: &Method, path: &Path) -> Result<&'static Route, Refused> {
    let level = Level::of(path);
    let found = ROUTES
        .iter()
        .find(|route| route.level == level && route.method == method.as_str());
    found.ok_or_else(|| Box::new(refuse(StatusCode::METHOD_NOT_ALLOWED).with("allow", level.methods())))
}
