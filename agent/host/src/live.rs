//! One store with one configured instance in it: what is dropped whole after a fault.

use std::sync::Arc;

use wasmtime::Store;
use weir_event::transform::{Call, Context, Outcome, Plan};

use crate::bindings::TransformPre;
use crate::bindings::exports::weir::plugin::transformer::{Batch, Context as GuestContext, Guest};
use crate::convert;
use crate::deadline::Deadline;
use crate::engine::Engine;
use crate::fault::{Cause, Fault, capped};
use crate::limiter::{Limiter, State};
use crate::metrics::Metrics;

/// What an instance is made of, the same for all instances of a plugin.
pub(crate) struct Program {
    pub(crate) engine: Engine,
    pub(crate) component: TransformPre<State>,
    pub(crate) config: String,
    /// Bytes of linear memory.
    pub(crate) memory: usize,
    /// Bytes of one answer.
    pub(crate) output: usize,
    pub(crate) metrics: Arc<Metrics>,
}

/// Why there is no instance.
pub(crate) enum StartError {
    /// `configure` answered with an error, for the operator.
    Refused(String),
    /// A function that it exports is of another type than the world's.
    Type(String),
    /// It trapped, or the instance could not be made.
    Fault(Fault),
}

/// A configured instance.
pub(crate) struct Live {
    store: Store<State>,
    guest: Guest,
    calls: u64,
}

// === impl Program ===

impl Program {
    /// Guest code runs from here on only under a deadline: a module's start function runs at instantiation.
    fn store(&self, deadline: Deadline) -> Store<State> {
        let limiter = Limiter::new(self.memory, Arc::clone(&self.metrics));
        let mut store = Store::new(self.engine.inner(), State { limiter, deadline });
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(self.output);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            let looked = context.data().deadline.look();
            looked.map_err(wasmtime::Error::new)
        });
        store
    }
}

// === impl Live ===

impl Live {
    /// Makes an instance and configures it, both within `deadline`.
    pub(crate) fn start(program: &Program, deadline: Deadline) -> Result<(Live, Plan), StartError> {
        let fault = |error| StartError::Fault(Fault::of_call(error));
        let _active = program.engine.enter();
        let mut store = program.store(deadline);
        let instance = program.component.instance_pre().instantiate(&mut store).map_err(fault)?;
        let world = program.component.bind(&mut store, &instance);
        let world = world.map_err(|error| StartError::Type(capped(&format!("{error:#}"))))?;
        let guest = world.weir_plugin_transformer().clone();
        let answer = guest.call_configure(&mut store, &program.config).map_err(fault)?;
        let plan = answer.map_err(|message| StartError::Refused(capped(&message)))?;
        Ok((Live { store, guest, calls: 0 }, convert::plan(plan)))
    }

    /// Hands over a call. After an error this instance must not be used again.
    pub(crate) fn call(
        &mut self,
        program: &Program,
        call: &Call,
        context: &Context,
        deadline: Deadline,
    ) -> Result<Outcome, Fault> {
        self.calls += 1;
        self.store.data_mut().deadline = deadline;
        self.store.set_epoch_deadline(1);
        let columns = convert::columns(&call.columns);
        let attributes = convert::columns(&context.attributes);
        let batch = Batch { rows: call.rows, streams: &call.streams, times: &call.times, columns: &columns };
        let context = GuestContext { now: context.now, pressure: context.pressure, attributes: &attributes };
        let _active = program.engine.enter();
        let outcome = self.guest.call_transform(&mut self.store, batch, context).map_err(Fault::of_call)?;
        Ok(convert::outcome(outcome))
    }

    /// Calls since it was made.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// Bytes of linear memory.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().limiter.used()
    }
}

// === impl StartError ===

impl StartError {
    /// The same as a fault of a plugin that did start when it was loaded.
    pub(crate) fn into_fault(self) -> Fault {
        match self {
            StartError::Refused(message) => {
                Fault::new(Cause::Instantiate, format!("configure refused what it took at load: {message}"))
            }
            StartError::Type(problem) => Fault::new(Cause::Instantiate, problem),
            StartError::Fault(fault) => fault.while_instantiating(),
        }
    }
}
