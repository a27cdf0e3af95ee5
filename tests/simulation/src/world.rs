//! The world of one seed: machines on one thread, a network between them, faults from a plan, clients, and the looks
//! that are taken at all of it.
//!
//! Time moves in steps of [`STEP_MS`]: what the network has due is delivered, then every machine runs for that long by
//! its own paused clock. Messages take at least a step, so the order of machines within one means nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use storage_node::threads::{self, Labour, Pace};

use crate::client::{Client, Notebook};
use crate::cluster::{Cluster, NodeMachine, ProxyMachine};
use crate::dice::SimDice;
use crate::disk::DiskFaults;
use crate::ground::Death;
use crate::history::History;
use crate::machine::MachineClock;
use crate::net::{MachineId, Net, PROXY, Weather};
use crate::operator::Order;
use crate::plan::{BadDisk, Fault, Plan};
use crate::trace::Trace;

/// How far time moves at once.
const STEP_MS: u64 = 2;
/// Between two looks at what must hold at every moment.
const LOOK_MS: u64 = 100;
/// A new cluster must be of use within this time.
const BOOT_MS: u64 = 60_000;
/// Once all faults are off, everything must be healed within this time.
const SETTLE_MS: u64 = 120_000;

/// Between two orders of an operator.
const ORDER_PAUSE_MS: u64 = 1_500;
/// How often the copies are counted before what is missing counts as missing.
const COUNTS: usize = 3;

/// What came out of a seed.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) digest: u64,
    pub(crate) events: u64,
    pub(crate) operations: usize,
    pub(crate) answered: usize,
    pub(crate) undecided: usize,
    pub(crate) simulated_ms: u64,
    pub(crate) broken: Vec<String>,
}

/// Something the world will do later.
#[derive(Clone, Copy, Debug)]
enum Due {
    Start(MachineId),
    Thaw(MachineId),
    Mend,
    Calm,
    DiskGood(MachineId, u64),
    NextFault,
    NextOrder,
}

pub(crate) struct World {
    plan: Plan,
    now_ms: u64,
    world_ms: Arc<AtomicU64>,
    dice: SimDice,
    pub(crate) trace: Trace,
    net: Net,
    nodes: BTreeMap<MachineId, NodeMachine>,
    proxies: BTreeMap<MachineId, ProxyMachine>,
    frozen: BTreeSet<MachineId>,
    due: BTreeMap<(u64, u64), Due>,
    scheduled: u64,
    faults_on: bool,
    notebook: Notebook,
    stop: Arc<AtomicBool>,
}

/// Durations of what a server would do on threads.
struct SimPace(SimDice);

impl Pace for SimPace {
    fn takes(&self, labour: Labour) -> Duration {
        let dice = &self.0;
        let tail = if dice.chance(10) { dice.below(60) } else { 0 };
        match labour {
            Labour::StoreSync => Duration::from_millis(1 + dice.below(5) + tail),
            Labour::DeviceSync => Duration::from_millis(1 + dice.below(6) + tail),
            Labour::Job => Duration::from_millis(dice.below(2)),
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        let plan = Plan::of(seed);
        trace.event(&format!("plan  {plan:?}"));
        threads::simulate(Arc::new(SimPace(SimDice::new(seed, "pace"))));
        let world_ms = Arc::new(AtomicU64::new(0));
        let net = Net::new(SimDice::new(seed, "net"), trace.clone());
        let cluster = Arc::new(Cluster::new(seed, &plan, net.clone()));
        let clock = || MachineClock::new(Arc::clone(&world_ms));
        let nodes = (1..=plan.nodes).map(|id| (id, NodeMachine::new(id, Arc::clone(&cluster), clock())));
        let proxies =
            (PROXY..PROXY + plan.proxies).map(|id| (id, ProxyMachine::new(id, Arc::clone(&cluster), clock())));
        let notebook = Notebook {
            history: Arc::new(Mutex::new(History::default())),
            sizes: Arc::default(),
            broken: Arc::default(),
            winners: Arc::default(),
            trace: trace.clone(),
            keys: plan.keys,
        };
        Self {
            nodes: nodes.collect(),
            proxies: proxies.collect(),
            now_ms: 0,
            world_ms,
            dice: SimDice::new(seed, "world"),
            trace,
            net,
            frozen: BTreeSet::new(),
            due: BTreeMap::new(),
            scheduled: 0,
            faults_on: false,
            notebook,
            stop: Arc::default(),
            plan,
        }
    }

    /// Lives through the whole plan.
    pub(crate) fn run(mut self) -> Outcome {
        self.all_up();
        let ready = self.on_proxy(BOOT_MS, |proxy| proxy.found_cluster());
        if ready.is_none() {
            self.broke("the new cluster was of no use in time".to_owned());
        }
        for round in 0..self.plan.rounds {
            if !self.notebook.broken.lock().is_empty() {
                break;
            }
            self.trace.event(&format!("round {round}"));
            self.start_clients();
            self.faults_on = true;
            self.schedule(self.dice.below(1000), Due::NextFault);
            if self.plan.operator {
                self.schedule(self.dice.below(1000), Due::NextOrder);
            }
            self.run_for(self.plan.round_ms);
            self.quiet();
        }
        self.judge()
    }

    fn judge(self) -> Outcome {
        let history = self.notebook.history.lock();
        let (impossible, undecided) = history.check();
        let mut broken = self.notebook.broken.lock().clone();
        broken.extend(impossible.map(|why| format!("CON-1: {why}")));
        let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, winner) in self.notebook.winners.lock().iter() {
            owners.entry(name.clone()).or_default().insert(winner.clone());
        }
        let shared = owners.into_iter().find(|(_, winners)| winners.len() > 1);
        broken.extend(shared.map(|(name, winners)| format!("CON-2: {winners:?} all won the bucket {name}")));
        let outcome = Outcome {
            digest: self.trace.digest(),
            events: self.trace.events(),
            operations: history.operations(),
            answered: history.answered(),
            undecided,
            simulated_ms: self.now_ms,
            broken,
        };
        self.trace.flush();
        outcome
    }

    fn broke(&self, what: String) {
        self.trace.event(&format!("BROKEN {what}"));
        self.notebook.broken.lock().push(what);
    }

    fn schedule(&mut self, in_ms: u64, due: Due) {
        self.scheduled += 1;
        self.due.insert((self.now_ms + in_ms, self.scheduled), due);
    }

    fn run_for(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.now_ms < until && self.notebook.broken.lock().is_empty() {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now_ms += STEP_MS;
        self.world_ms.store(self.now_ms, Ordering::SeqCst);
        self.trace.set_now(self.now_ms);
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= self.now_ms) {
            let due = entry.remove();
            self.happen(due);
        }
        self.net.deliver(self.now_ms, &self.frozen);
        for (id, node) in &self.nodes {
            if !self.frozen.contains(id) {
                node.run_until(self.now_ms);
            }
        }
        for (id, proxy) in &self.proxies {
            if !self.frozen.contains(id) {
                proxy.run_until(self.now_ms);
            }
        }
        if self.now_ms.is_multiple_of(LOOK_MS) {
            self.look();
        }
    }

    /// What must hold at every moment.
    fn look(&mut self) {
        for node in self.nodes.values() {
            let Some(status) = node.shards_status() else { continue };
            for shard in status.shards {
                if let Some(fault) = shard
                    .fault
                    .as_ref()
                    .filter(|fault| fault.contains("differ from the leader's"))
                {
                    self.broke(format!("replicas of shard {} deviate: {fault}", shard.shard));
                }
            }
        }
        // Whoever starts processes starts them again; one that never comes up is seen when all must be healed.
        let failed: Vec<MachineId> = self
            .nodes
            .iter()
            .filter_map(|(id, node)| {
                let failure = node.failure()?;
                self.trace.event(&format!("node {id} does not start: {failure}"));
                Some(*id)
            })
            .collect();
        for node in failed {
            self.die(node, Death::Kill);
            self.schedule(1_000, Due::Start(node));
        }
    }

    fn happen(&mut self, due: Due) {
        self.trace.event(&format!("due   {due:?}"));
        match due {
            Due::Start(machine) => self.start(machine),
            Due::Thaw(machine) => self.thaw(machine),
            Due::Mend => self.net.mend(),
            Due::Calm => self.net.set_weather(Weather::FAIR),
            Due::DiskGood(node, number) => self.set_disk(node, number, DiskFaults::default()),
            Due::NextFault if self.faults_on => {
                let fault = self.plan.fault(&self.dice);
                self.trace.event(&format!("fault {fault:?}"));
                self.strike(fault);
                let pause = self.dice.below(self.plan.pause_ms * 2);
                self.schedule(pause, Due::NextFault);
            }
            Due::NextOrder if self.faults_on => {
                self.order(Order::draw(&self.dice, self.plan.nodes * self.plan.devices_per_node));
                let pause = self.dice.below(ORDER_PAUSE_MS * 2);
                self.schedule(pause, Due::NextOrder);
            }
            Due::NextFault | Due::NextOrder => {}
        }
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Die(machine, death, ms) => {
                self.die(machine, death);
                self.schedule(ms, Due::Start(machine));
            }
            Fault::DieAll(death, ms) => {
                for node in 1..=self.plan.nodes {
                    self.die(node, death);
                    let late = self.dice.below(2_000);
                    self.schedule(ms + late, Due::Start(node));
                }
            }
            Fault::LoseMetadata(node, ms) => {
                self.die(node, Death::PowerCut);
                if let Some(machine) = self.nodes.get(&node) {
                    machine.ground.lose_metadata();
                }
                self.schedule(ms, Due::Start(node));
            }
            Fault::LoseDisk(node, number, ms) => {
                self.die(node, Death::PowerCut);
                if let Some(machine) = self.nodes.get(&node)
                    && let Some(device) = machine.device(number)
                {
                    machine.ground.lose_disk(device);
                }
                self.schedule(ms, Due::Start(node));
            }
            Fault::Freeze(machine, ms) => {
                self.frozen.insert(machine);
                self.schedule(ms, Due::Thaw(machine));
            }
            Fault::Cut(from, to, ms) => {
                self.net.cut(from, to);
                self.schedule(ms, Due::Mend);
            }
            Fault::Isolate(machine, ms) => {
                for other in self.nodes.keys().chain(self.proxies.keys()) {
                    self.net.cut(machine, *other);
                    self.net.cut(*other, machine);
                }
                self.schedule(ms, Due::Mend);
            }
            Fault::Weather(weather, ms) => {
                self.net.set_weather(weather);
                self.schedule(ms, Due::Calm);
            }
            Fault::Clock(machine, offset_ms) => self.set_clock(machine, offset_ms),
            Fault::Disk(node, number, bad, ms) => {
                let faults = match bad {
                    BadDisk::Writes => DiskFaults {
                        fail_writes: true,
                        ..DiskFaults::default()
                    },
                    BadDisk::Syncs => DiskFaults {
                        fail_syncs: true,
                        ..DiskFaults::default()
                    },
                    BadDisk::Reads => DiskFaults {
                        fail_reads: true,
                        ..DiskFaults::default()
                    },
                    BadDisk::Full => DiskFaults {
                        capacity: Some(1),
                        ..DiskFaults::default()
                    },
                };
                self.set_disk(node, number, faults);
                self.schedule(ms, Due::DiskGood(node, number));
            }
            Fault::RowSyncs(node) => {
                if let Some(machine) = self.nodes.get(&node).filter(|machine| machine.is_up()) {
                    machine.ground.fail_row_syncs();
                }
            }
            Fault::Rot(node, number) => {
                let flipped = self.nodes.get(&node).and_then(|machine| {
                    let device = machine.device(number)?;
                    machine.ground.flip_a_bit(device)
                });
                self.trace.event(&format!("rot   {node}: {flipped:?}"));
            }
        }
    }

    /// Has the operator give an order, through the first proxy that is up.
    fn order(&self, order: Order) {
        let Some(machine) = self.proxies.values().find(|machine| machine.store().is_some()) else {
            return;
        };
        let (asked, trace) = (machine.obey(order, self.dice.next()), self.trace.clone());
        machine.spawn(async move { trace.event(&format!("order {}", asked.await)) });
    }

    fn set_disk(&self, node: MachineId, number: u64, faults: DiskFaults) {
        if let Some(machine) = self.nodes.get(&node)
            && let Some(device) = machine.device(number)
        {
            machine.ground.set_disk_faults(device, faults);
        }
    }

    fn set_clock(&self, machine: MachineId, offset_ms: i64) {
        let clock = self.nodes.get(&machine).map(|node| &node.clock);
        if let Some(clock) = clock.or_else(|| self.proxies.get(&machine).map(|proxy| &proxy.clock)) {
            clock.set_offset_ms(offset_ms);
        }
    }

    fn die(&mut self, machine: MachineId, death: Death) {
        self.frozen.remove(&machine);
        self.net.detach(machine);
        if let Some(node) = self.nodes.get_mut(&machine) {
            node.die(death);
        }
        if let Some(proxy) = self.proxies.get_mut(&machine) {
            proxy.die();
        }
    }

    fn start(&mut self, machine: MachineId) {
        if let Some(node) = self.nodes.get_mut(&machine) {
            node.start(self.now_ms);
        }
        if let Some(proxy) = self.proxies.get_mut(&machine)
            && proxy.start(self.now_ms)
            && self.faults_on
        {
            self.start_clients_of(machine);
        }
    }

    fn thaw(&mut self, machine: MachineId) {
        if !self.frozen.remove(&machine) {
            return;
        }
        if let Some(node) = self.nodes.get(&machine) {
            node.thaw(self.now_ms);
        }
        if let Some(proxy) = self.proxies.get(&machine) {
            proxy.thaw(self.now_ms);
        }
    }

    fn start_clients(&mut self) {
        self.stop = Arc::default();
        let proxies: Vec<MachineId> = self.proxies.keys().copied().collect();
        proxies.into_iter().for_each(|proxy| self.start_clients_of(proxy));
    }

    fn start_clients_of(&mut self, proxy: MachineId) {
        let machine = &self.proxies[&proxy];
        for number in 0..self.plan.clients_per_proxy {
            let name = format!("{proxy}.{number}");
            let Some(client) = self.client(machine, name) else {
                return;
            };
            machine.spawn(client.work(Arc::clone(&self.stop)));
        }
    }

    fn client(&self, machine: &ProxyMachine, name: String) -> Option<Client> {
        Some(Client {
            dice: SimDice::new(self.dice.next(), &name),
            name,
            store: machine.store()?,
            clock: Arc::new(machine.clock.clone()),
            notebook: self.notebook.clone(),
        })
    }

    /// Everything off, everybody up.
    fn all_up(&mut self) {
        self.net.mend();
        self.net.set_weather(Weather::FAIR);
        for machine in std::mem::take(&mut self.frozen) {
            self.frozen.insert(machine);
            self.thaw(machine);
        }
        self.due.clear();
        let all: Vec<MachineId> = self.nodes.keys().chain(self.proxies.keys()).copied().collect();
        for machine in all {
            self.set_clock(machine, 0);
            for number in 0..self.plan.devices_per_node {
                self.set_disk(machine, number, DiskFaults::default());
            }
            if self.nodes.get(&machine).is_some_and(NodeMachine::needs_restart) {
                self.die(machine, Death::Kill);
            }
            self.start(machine);
        }
    }

    /// Faults off: everything must settle within a bound, and every promise is checked in full.
    fn quiet(&mut self) {
        self.trace.event("quiet");
        self.faults_on = false;
        self.stop.store(true, Ordering::SeqCst);
        self.all_up();
        let proxies: Vec<MachineId> = self.proxies.keys().copied().collect();
        if let Some(problems) = self.healed(&proxies) {
            problems.into_iter().for_each(|problem| self.broke(problem));
            return;
        }
        for proxy in proxies {
            let Some(client) = self.client(&self.proxies[&proxy], format!("final {proxy}")) else {
                continue;
            };
            let read = self.on(proxy, SETTLE_MS, move |_| client.read_everything());
            if read.is_none() {
                self.broke(format!("reads through proxy {proxy} did not end in time"));
            }
        }
    }

    /// What is still wrong when it should be healed. A write of before may be committed between the shards' word and the
    /// count of the copies, so both are asked again; what is missing the third time is missing.
    fn healed(&mut self, proxies: &[MachineId]) -> Option<Vec<String>> {
        let mut problems = Vec::new();
        for _ in 0..COUNTS {
            for proxy in proxies {
                if self.on(*proxy, SETTLE_MS, ProxyMachine::settled).is_none() {
                    let why = self.proxies[proxy].last_word();
                    return Some(vec![format!(
                        "HEAL-1: not healed {SETTLE_MS} ms after the last fault: {why}"
                    )]);
                }
            }
            let rotting = self.plan.rotting;
            let found = self.on_proxy(SETTLE_MS, move |proxy| proxy.every_copy(rotting));
            problems = found.unwrap_or_else(|| vec!["the copies could not be counted in time".to_owned()]);
            if problems.is_empty() {
                return None;
            }
        }
        Some(problems)
    }

    fn on_proxy<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        bound_ms: u64,
        work: impl FnOnce(&ProxyMachine) -> F,
    ) -> Option<T> {
        self.on(PROXY, bound_ms, work)
    }

    /// Runs `work` on a proxy until it ends or the time is over.
    fn on<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        proxy: MachineId,
        bound_ms: u64,
        work: impl FnOnce(&ProxyMachine) -> F,
    ) -> Option<T> {
        let slot = Arc::new(Mutex::new(None));
        let machine = &self.proxies[&proxy];
        let (filled, work) = (Arc::clone(&slot), work(machine));
        machine.spawn(async move {
            let done = work.await;
            *filled.lock() = Some(done);
        });
        let until = self.now_ms + bound_ms;
        while self.now_ms < until {
            self.step();
            if let Some(done) = slot.lock().take() {
                return Some(done);
            }
        }
        None
    }
}
