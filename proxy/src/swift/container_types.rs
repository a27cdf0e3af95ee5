//! Content types by the end of a name, for objects that come without one.

/// Names' ends and their types; sorted by end.
const TYPES: [(&str, &str); 49] = [
    ("7z", "application/x-7z-compressed"),
    ("avi", "video/x-msvideo"),
    ("bin", "application/octet-stream"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("c", "text/x-csrc"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    ("eps", "application/postscript"),
    ("exe", "application/x-msdos-program"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/vnd.microsoft.icon"),
    ("iso", "application/x-iso9660-image"),
    ("jpe", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "application/javascript"),
    ("json", "application/json"),
    ("m4a", "audio/mp4"),
    ("md", "text/markdown"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("mpg", "video/mpeg"),
    ("ogg", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("ps", "application/postscript"),
    ("py", "text/x-python"),
    ("rtf", "application/rtf"),
    ("sh", "application/x-sh"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("txt", "text/plain"),
    ("wav", "audio/x-wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("xls", "application/vnd.ms-excel"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// The type that a name suggests.
pub(crate) fn guess(name: &str) -> &'static str {
    let file = name.rsplit('/').next().unwrap_or_default();
    let end = file.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    let found = end.and_then(|end| TYPES.binary_search_by(|(known, _)| (*known).cmp(end.as_str())).ok());
    found.map_or("application/octet-stream", |at| TYPES[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_from_names() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(guess("a/b.TXT"), "text/plain");
        assert_eq!(guess("a.zip"), "application/zip");
        assert_eq!(guess("a.txt/b"), "application/octet-stream");
        assert_eq!(guess("txt"), "application/octet-stream");
    }
}
