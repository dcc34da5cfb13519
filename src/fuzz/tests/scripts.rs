//! Seeds of the targets that take scripts, written draw by draw: one byte for each choice among at most 256.

/// An agent starts two tasks; one ends and its status is acknowledged, the other ends after the agent's restart.
pub(super) fn a_task_ends_after_a_restart() -> Vec<u8> {
    let mut script = Agent::start();
    script.register();
    script.run_task(0);
    script.acknowledge_the_latest_of(1);
    script.end_the_only_process();
    script.acknowledge_the_latest_of(2);
    script.run_task(1);
    script.acknowledge_the_latest_of(3);
    script.restart();
    script.register();
    script.end_the_only_process();
    script.bytes
}

/// A script for `fuzz::agent`, in the order in which it draws.
struct Agent {
    bytes: Vec<u8>,
}

impl Agent {
    /// One supervisor, no sandboxes left, a sound log; then the seed of the agent's random numbers.
    const RECOVERY: [u8; 4] = [0, 0, 0, 0];
    const RESTART: u8 = 0;
    const REGISTER: u8 = 8;
    const ANSWER: u8 = 11;
    const RECEIVE: u8 = 16;

    fn start() -> Self {
        Self { bytes: Self::RECOVERY.to_vec() }
    }

    /// A second passes; the session of now, the first supervisor, and the first container's name.
    fn step(&mut self, kind: u8, draws: &[u8]) {
        self.bytes.extend([3, 1, 0, 0, 0, kind]);
        self.bytes.extend(draws);
    }

    /// The supervisor's true welcome; a master that misses no task, in its first epoch, and removed no framework.
    fn register(&mut self) {
        self.step(Self::REGISTER, &[0, 0, 0, 0]);
    }

    /// The first framework, the task, a launch that is well formed, and the container of the same number; then the host
    /// answers that the sandbox is made, and the supervisor that the process is started.
    fn run_task(&mut self, task: u8) {
        self.step(Self::RECEIVE, &[0, task, 9, 0, task]);
        for _ in 0..2 {
            self.step(Self::ANSWER, &[0]);
        }
    }

    fn end_the_only_process(&mut self) {
        self.step(Self::ANSWER, &[1]);
    }

    /// The last of as many statuses as were sent; a choice of one takes no byte.
    fn acknowledge_the_latest_of(&mut self, sent: u8) {
        self.step(Self::RECEIVE, &[0, 0, 3]);
        self.bytes.extend((sent > 1).then(|| sent - 1));
    }

    /// Every record is kept, and the host has not started anew.
    fn restart(&mut self) {
        self.step(Self::RESTART, &[0, 0]);
        self.bytes.extend(Self::RECOVERY);
    }
}
