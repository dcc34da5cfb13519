//! The name of this process' user: tasks run as it unless the framework sets another.

use std::{env, fs, os::unix::fs::MetadataExt as _};

/// The name in the environment, else the one that the host's user database has for this process' user.
pub(super) fn current() -> String {
    let named = ["USER", "LOGNAME"].into_iter().filter_map(|name| env::var(name).ok()).find(|name| !name.is_empty());
    named.or_else(of_process).unwrap_or_else(|| "nobody".to_owned())
}

fn of_process() -> Option<String> {
    let uid = fs::metadata("/proc/self").ok()?.uid();
    let database = fs::read_to_string("/etc/passwd").ok()?;
    name_of(uid, &database).or_else(|| Some(uid.to_string()))
}

fn name_of(uid: u32, database: &str) -> Option<String> {
    database.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let database = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(name_of(1000, database), Some("ann".into()));
        assert_eq!(name_of(7, database), None);
        assert!(!current().is_empty());
    }
}
