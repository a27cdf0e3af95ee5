//! Why a request to a device failed, as a code that travels.

use http::StatusCode;

use crate::device::DeviceError;

/// A fault told by the serving node. The number is the wire name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The device has no such blob.
    Absent = 1,
    /// The device's copy is damaged.
    Corrupt = 2,
    /// Another blob of the same key is there.
    Conflict = 3,
    /// The bytes do not match their checksums or lengths.
    Malformed = 4,
    /// The blob is of another cluster.
    ForeignCluster = 5,
    /// The range lies beyond the blob's end.
    Range = 6,
    /// No room.
    Full = 7,
    /// The device takes no writes.
    ReadOnly = 8,
    /// The device answers nothing.
    Out = 9,
    /// One read failed.
    Io = 10,
    /// This node has no such device.
    NoSuchDevice = 11,
    /// Too much is going on; come back, or go to another device.
    Busy = 12,
    /// The request is not understood.
    BadRequest = 14,
    /// The body is longer than a blob can be.
    TooLarge = 15,
    /// The body did not arrive in time.
    Slow = 16,
}

impl Fault {
    const ALL: [Self; 15] = [
        Self::Absent,
        Self::Corrupt,
        Self::Conflict,
        Self::Malformed,
        Self::ForeignCluster,
        Self::Range,
        Self::Full,
        Self::ReadOnly,
        Self::Out,
        Self::Io,
        Self::NoSuchDevice,
        Self::Busy,
        Self::BadRequest,
        Self::TooLarge,
        Self::Slow,
    ];

    /// Reads the code in a header.
    pub(super) fn from_code(code: &str) -> Option<Self> {
        let code: u8 = code.parse().ok()?;
        Self::ALL.into_iter().find(|fault| *fault as u8 == code)
    }

    /// The status that HTTP tools show; clients of ours read the code.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Absent | Self::NoSuchDevice => StatusCode::NOT_FOUND,
            Self::Corrupt | Self::Io => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Malformed | Self::BadRequest | Self::ForeignCluster => StatusCode::BAD_REQUEST,
            Self::Range => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Full | Self::ReadOnly => StatusCode::INSUFFICIENT_STORAGE,
            Self::Out | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

impl From<&DeviceError> for Fault {
    fn from(error: &DeviceError) -> Self {
        match error {
            DeviceError::NotFound => Self::Absent,
            DeviceError::Corrupt(_) => Self::Corrupt,
            DeviceError::Conflict => Self::Conflict,
            DeviceError::Malformed(_) => Self::Malformed,
            DeviceError::ForeignCluster => Self::ForeignCluster,
            DeviceError::Range => Self::Range,
            DeviceError::Full => Self::Full,
            DeviceError::ReadOnly(_) => Self::ReadOnly,
            DeviceError::Out(_) | DeviceError::Refused(_) => Self::Out,
            DeviceError::Io(_) => Self::Io,
        }
    }
}
