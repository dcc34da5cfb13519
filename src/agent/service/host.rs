//! Who this host and this process are.

use std::fs;

/// Names this run of the kernel: another one means that nothing that ran before runs now.
pub(super) fn boot_id() -> std::io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// The name of the user this process runs as; the number where it has none.
pub(super) fn user() -> String {
    let uid = rustix::process::geteuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(&passwd, uid).map_or_else(|| uid.to_string(), str::to_owned)
}

/// The name this host gives itself.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn name_of(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_as_in_the_list_of_users() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\njane:x:1000:1000::/home/jane:/bin/sh\n";
        assert_eq!(name_of(passwd, 1000), Some("jane"));
        assert_eq!(name_of(passwd, 0), Some("root"));
        assert_eq!(name_of(passwd, 7), None);
    }

    #[test]
    fn this_host_says_who_it_is() {
        assert_eq!(boot_id().unwrap().len(), 36);
        assert!(!hostname().is_empty());
        assert!(!user().is_empty());
    }
}
