//! The folders that containers run in.

/// Whether `id` may name a container, and so a file: 1 to 255 letters, digits, `.`, `_` and `-`, and not `.` or `..`.
#[must_use]
pub fn is_container_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=255).contains(&id.len()) && !matches!(id, "." | "..") && id.bytes().all(is_allowed)
}
