//! Limits on messages from outside.
//!
//! Every text, list and depth that a peer chooses has a limit here, and tests at the limit and one past it. The error
//! names the field, the value and the limit. `docs/limits.md` lists the same numbers; a test compares it with [`ALL`].
//! What has no limit of its own is bounded by the message it is in.

/// One limit, as the documentation lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The name of the constant.
    pub name: &'static str,
    /// The largest accepted value.
    pub most: usize,
    /// The unit.
    pub unit: &'static str,
    /// What is limited.
    pub of: &'static str,
}

macro_rules! limits {
    ($($name:ident = $most:expr, $unit:literal, $of:literal;)*) => {
        $(
            #[doc = concat!("Most ", $unit, " of ", $of, ".")]
            pub const $name: usize = $most;
        )*

        /// Every limit, in the order of the documentation.
        pub const ALL: &[Limit] = &[
            $(Limit { name: stringify!($name), most: $name, unit: $unit, of: $of },)*
        ];
    };
}

limits! {
    MESSAGE_BYTES = 4_194_304, "bytes", "a message, as it travels";
    MESSAGE_ELEMENTS = 65_536, "elements", "a message: its submessages and the entries of its lists, counted before it is decoded";
    MESSAGE_MEMORY_BYTES = 25_165_824, "bytes", "what a decoded message takes beside its own bytes, counted before it is decoded";
    REGISTRATION_BYTES = 25_165_824, "bytes", "a message between an agent and a master, which may be a whole registration";
    REGISTRATION_ELEMENTS = 262_144, "elements", "a message between an agent and a master";
    CONNECTION_BYTES = 25_165_824, "bytes", "the longest message of each stream of a connection, all its streams together";
    MESSAGE_DEPTH = 64, "submessages", "a message, one within the other";
    ID_BYTES = 255, "bytes", "an id of any kind";
    NAME_BYTES = 1_024, "bytes", "a name of a framework, task, executor, variable, user or principal";
    HOSTNAME_BYTES = 255, "bytes", "a host name";
    URL_BYTES = 8_192, "bytes", "an address of a page or of something to fetch";
    ROLE_BYTES = 255, "bytes", "a role";
    ROLE_DEPTH = 16, "parts", "a role, joined by slashes";
    FRAMEWORK_ROLES = 1_024, "roles", "a framework, a call that names roles, or the roles it suppresses";
    CAPABILITIES = 64, "entries", "a list of capabilities";
    LABELS = 1_024, "labels", "one list of labels";
    LABEL_KEY_BYTES = 1_024, "bytes", "the key of a label";
    LABEL_VALUE_BYTES = 65_536, "bytes", "the value of a label";
    ATTRIBUTES = 1_024, "attributes", "an agent";
    ATTRIBUTE_NAME_BYTES = 255, "bytes", "the name of an attribute";
    ATTRIBUTE_TEXT_BYTES = 4_096, "bytes", "the text of an attribute";
    RESOURCES = 4_096, "items", "one list of resources";
    RESOURCE_NAME_BYTES = 255, "bytes", "the name of a resource";
    RESERVATIONS = 16, "entries", "a stack of reservations";
    RANGES = 32_768, "ranges", "one item of resources or one attribute";
    LIST_RANGES = 65_536, "ranges", "one list of resources, all its items together";
    SET_ITEMS = 4_096, "items", "a set";
    SET_ITEM_BYTES = 255, "bytes", "an item of a set";
    OFFERS_PER_CALL = 16_384, "offers", "one ACCEPT or DECLINE";
    OPERATIONS_PER_ACCEPT = 1_024, "operations", "one ACCEPT";
    TASKS_PER_ACCEPT = 4_096, "tasks", "one ACCEPT, all its operations together";
    RECONCILE_TASKS = 16_384, "tasks", "one RECONCILE";
    REQUESTS = 1_024, "requests", "one REQUEST";
    BUNDLES = 64, "bundles", "the least resources a role wants to be offered";
    QUANTITIES = 64, "names", "a bundle, a quota's guarantees or its limits, or a task's limits";
    CONSTRAINT_GROUPS = 64, "groups", "a role's constraints on offers";
    CONSTRAINTS_PER_GROUP = 64, "constraints", "one group";
    TASK_BYTES = 1_048_576, "bytes", "one task as it is encoded";
    COMMAND_BYTES = 131_071, "bytes", "the value of a command or one of its arguments: the kernel takes no more";
    ARGUMENTS = 16_384, "arguments", "a command";
    VARIABLES = 4_096, "variables", "an environment";
    VARIABLE_BYTES = 131_071, "bytes", "the value of a variable: the kernel takes no more";
    URIS = 1_024, "entries", "what a command fetches";
    VOLUMES = 1_024, "volumes", "a container";
    DATA_BYTES = 2_097_152, "bytes", "the data of a framework's message";
    INSTANCE_BYTES = 64, "bytes", "the name that one run of a driver or agent gives itself";
    STATUS_BYTES = 1_048_576, "bytes", "one status of a task as it is encoded";
    AGENT_TASKS = 100_000, "tasks", "a registering agent, and as many containers of removed frameworks";
    AGENT_FRAMEWORKS = 10_000, "frameworks", "a registering agent's tasks";
    WEIGHTS = 1_024, "weights", "one UPDATE_WEIGHTS";
    QUOTAS = 1_024, "quotas", "one UPDATE_QUOTA";
    QUOTED_CHARS = 120, "characters", "what an error quotes of what it refuses";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_limit_with_its_number() {
        let shown = include_str!("../../docs/limits.md");
        let listed: Vec<&str> = shown.lines().filter(|line| line.starts_with("| `")).collect();
        let expected: Vec<String> = ALL
            .iter()
            .map(|limit| format!("| `{}` | {} {} | {} |", limit.name, limit.most, limit.unit, limit.of))
            .collect();
        assert_eq!(listed, expected, "docs/limits.md differs from the constants");
    }
}
