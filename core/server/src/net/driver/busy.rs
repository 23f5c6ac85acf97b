//! A driver's turn inside a long command: what was decoded ahead is bytes again, new bytes are read, commands that are
//! allowed while busy run, everybody else is told to wait. The client whose command runs is out of its place.

use super::super::busy::Serve;
use super::super::service::mono_us;
use super::inbox::Message;
use super::turn::Batch;
use super::{Clients, poller};
use keystead_engine::BusyTurn;

impl Serve for Clients {
    fn serve(&mut self, turn: &mut BusyTurn<'_>) -> bool {
        self.inside = true;
        if !std::mem::replace(&mut self.interrupted, true) {
            self.give_back(turn);
        }
        let mut ready: Vec<poller::Ready> = Vec::new();
        if let Err(error) = self.poller.poll(&mut ready, poller::Wait::No) {
            log::warn!("The driver can't look at its clients: {error}");
        }
        // Who wrote and rests may be the one who knows how to end this.
        self.wake_rested(mono_us());
        ready.iter().for_each(|event| self.event(*event));
        self.read_mail_inside(turn);
        let served = self.execute_inside(turn);
        let (end, stop) = turn.end();
        self.service.end_inside(end);
        served.iter().for_each(|at| self.settle(*at));
        self.inside = false;
        stop
    }
}

impl Clients {
    /// Replies of this turn's commands before the long one leave now, but none that shows what a file should have first: it
    /// can't be written from here. What was decoded behind the long one is decoded again.
    fn give_back(&mut self, turn: &mut BusyTurn<'_>) {
        for at in 0..self.conns.len() {
            self.collect_unwritten(turn, at);
            self.flush(at);
            let Some(conn) = self.conns[at].as_deref_mut() else { continue };
            if !conn.parked && !conn.closing && !conn.rest().is_empty() {
                conn.decoder.reset();
                self.activate(at);
            }
        }
    }

    /// Takes output of commands that a file may not have yet, or whose lease has ended by now.
    fn collect_unwritten(&mut self, turn: &mut BusyTurn<'_>, at: usize) {
        self.collect(turn.core(), at);
        let over = turn.core().lease_end().is_some_and(|end| mono_us() >= end);
        let owed = over || self.service.before_replies.owed(&self.done, turn.core().journal.position());
        if let Some(conn) = self.conns[at].as_deref_mut().filter(|conn| owed && !conn.owed && conn.sendable() > 0) {
            conn.owed = true;
            self.owed.push(at);
        }
    }

    /// New clients, and sessions with output. A takeover waits until the command is done.
    fn read_mail_inside(&mut self, turn: &mut BusyTurn<'_>) {
        let mut later = Vec::new();
        for message in self.inbox.take() {
            match message {
                Message::Open(accepted) => self.admit(accepted, Some(turn.core())),
                Message::Ready(ready) => {
                    if let Some(at) = self.place(ready.session) {
                        self.collect_unwritten(turn, at);
                        self.heed(at, ready);
                    }
                }
                Message::Kill(session) => self.kill(session),
                Message::Released => self.release(),
                Message::Listen(door) => self.doors.add(&self.poller, door),
                Message::Deafen(socket) => self.doors.remove(&self.poller, &socket),
                Message::Freed(bytes) => self.sweep.add(bytes, mono_us()),
                Message::TakeOver(at, handover) => later.push((at, handover)),
            }
        }
        for (at, handover) in later {
            self.inbox.send(Message::TakeOver(at, handover));
        }
    }

    /// Decodes and executes once; who was served.
    fn execute_inside(&mut self, turn: &mut BusyTurn<'_>) -> Vec<usize> {
        let served = std::mem::take(&mut self.active);
        let mut batch = Batch::default();
        for at in &served {
            if let Some(conn) = self.conns[*at].as_deref_mut() {
                conn.listed = false;
                batch.decode(*at, conn);
            }
        }
        let mut stopped = None;
        for command in &batch.commands {
            let Some(conn) = self.conns[command.at].as_deref_mut().filter(|_| stopped != Some(command.at)) else {
                continue;
            };
            let flow = turn.execute(conn.session, command.args(&conn.input, &batch.ranges));
            conn.start = command.end;
            if conn.stops(flow) {
                stopped = Some(command.at);
            }
        }
        for (at, error) in batch.errors {
            if let Some(conn) = self.conns[at].as_deref_mut().filter(|conn| !conn.parked && !conn.closing) {
                turn.core().protocol_error(conn.session, &error);
                conn.closing = true;
            }
        }
        served.iter().for_each(|at| self.collect(turn.core(), *at));
        served
    }
}
