//! Telling the engine what was appended, without ever waiting for it.

use std::os::fd::OwnedFd;

use tokio::net::unix::pipe::Sender;

use super::order::Frame;

/// The shim's standard output. An engine that reads slowly misses text, which it finds in the log; one that is gone
/// changes nothing.
pub(super) struct Teller {
    pipe: Option<Sender>,
    /// The rest of a frame that went out in part.
    begun: Vec<u8>,
    /// The log's end, where frames were left out.
    behind: Option<u64>,
}

impl Teller {
    /// Tells over this pipe; nobody, where it is no pipe.
    pub(super) async fn new(output: Option<OwnedFd>) -> Self {
        let pipe = output.and_then(|output| Sender::from_owned_fd(output).ok());
        if let Some(pipe) = &pipe {
            // An empty pipe is writable at once; this makes the runtime know it.
            let _ = pipe.writable().await;
        }
        Self { pipe, begun: Vec::new(), behind: None }
    }

    /// Tells a frame, or leaves it out where the pipe is full; `end` is the log's end behind it.
    pub(super) fn tell(&mut self, frame: &Frame, end: u64) {
        if self.pipe.is_none() {
            return;
        }
        self.flush();
        if !self.begun.is_empty() || self.behind.is_some() {
            self.behind = Some(end);
            return;
        }
        self.begin(frame);
        if !self.flush() {
            // Nothing of it went out: it may as well be left out.
            self.begun.clear();
            self.behind = Some(end);
        }
    }

    /// There is something to tell as soon as the engine reads on.
    pub(super) fn waits(&self) -> bool {
        self.pipe.is_some() && (!self.begun.is_empty() || self.behind.is_some())
    }

    /// Resolves when the pipe has room again.
    pub(super) async fn room(&self) {
        match &self.pipe {
            Some(pipe) => {
                // An error shows itself at the next write.
                let _ = pipe.writable().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Goes on with what waits.
    pub(super) fn catch_up(&mut self) {
        self.flush();
        if self.begun.is_empty()
            && let Some(offset) = self.behind.take()
        {
            self.begin(&Frame::UpTo { offset });
            if !self.flush() {
                self.begun.clear();
                self.behind = Some(offset);
            }
        }
    }

    fn begin(&mut self, frame: &Frame) {
        // A frame of strings and numbers always has a JSON form.
        if let Ok(json) = serde_json::to_vec(frame) {
            self.begun = json;
            self.begun.push(b'\n');
        }
    }

    /// Writes as much as the pipe takes; false where it took nothing.
    fn flush(&mut self) -> bool {
        let mut went = false;
        while let (Some(pipe), false) = (&self.pipe, self.begun.is_empty()) {
            match pipe.try_write(&self.begun) {
                Ok(count) => {
                    went = true;
                    self.begun.drain(..count);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.pipe = None;
                    self.begun = Vec::new();
                    self.behind = None;
                }
            }
        }
        went
    }
}
