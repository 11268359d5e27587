//! Whether a frame has reached the person's terminal, and not only the system or the link on the way to it.
//!
//! A link takes a frame long before the terminal at its end does. So a frame that shows something of a plan for the first time
//! is followed by a question that every terminal answers ([`ASK`](super::input::ASK)). The answer comes among the keys: what
//! stands before it was typed before the terminal had the frame, what stands behind it after that. A multiplexer answers for
//! itself; of what lies behind it nothing can be known.
//!
//! Where no answer comes at all, a plan counts as shown once its frame was written.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::card::Sight;

/// A terminal that has not answered anything after so long never does.
const PATIENCE: Duration = Duration::from_secs(2);
/// After so long it is asked once more about the same.
const AGAIN: Duration = Duration::from_secs(1);

/// What is not answered after so long was lost on the way, or with whoever had the terminal then.
const LOST: Duration = Duration::from_secs(10);
/// More questions than this are not asked before one is answered.
const MOST: usize = 4;

/// What the terminal was asked, and how it answers.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// What is asked and not answered yet, in order: what the frame before the question shows, where that still counts.
    asked: VecDeque<(Option<Sight>, Instant)>,
    /// It answers, or it does not; nothing where that is not known yet.
    answers: Option<bool>,
}

impl Witness {
    /// A frame with this goes out: whether it is to be followed by the question.
    pub(super) fn asks(&mut self, sight: &Sight, now: Instant) -> bool {
        if self.asked.front().is_some_and(|(_, at)| now - *at > LOST) {
            self.asked.clear();
        }
        let asked = |(other, at): &(Option<Sight>, Instant)| other.as_ref() == Some(sight) && now - *at < AGAIN;
        if self.is_mute() || self.asked.len() >= MOST || self.asked.iter().any(asked) {
            return false;
        }
        self.asked.push_back((Some(sight.clone()), now));
        true
    }

    /// The terminal never answers.
    pub(super) fn is_mute(&self) -> bool {
        self.answers == Some(false)
    }

    /// The terminal has answered the oldest question: what it has shown by now.
    pub(super) fn answered(&mut self) -> Option<Sight> {
        self.answers = Some(true);
        self.asked.pop_front().and_then(|(sight, _)| sight)
    }

    /// What was shown is there no more. Answers on their way stay owed, and say nothing.
    pub(super) fn forget(&mut self) {
        self.asked.iter_mut().for_each(|(sight, _)| *sight = None);
    }

    /// When the first answer ever is overdue.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        let (_, at) = self.asked.front().filter(|_| self.answers.is_none())?;
        Some(*at + PATIENCE)
    }

    /// It is waited for no more. One that was only slow still owes its answers, which say nothing.
    pub(super) fn give_up(&mut self) {
        self.answers = Some(false);
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Digest;

    fn sight(rows: usize) -> Sight {
        Sight { digest: Digest::of(b"plan"), size: (80, 24), rows: 0..rows }
    }

    #[test]
    fn answers_are_for_the_questions_in_their_order() {
        let (mut witness, now) = (Witness::default(), Instant::now());
        assert!(witness.asks(&sight(10), now));
        assert!(!witness.asks(&sight(10), now), "it is asked already");
        assert!(witness.asks(&sight(20), now) && witness.asks(&sight(10), now + AGAIN));
        assert_eq!(witness.answered(), Some(sight(10)));
        assert_eq!(witness.answered(), Some(sight(20)));
        assert_eq!(witness.answered(), Some(sight(10)));
        assert_eq!(witness.answered(), None, "nobody asked");
        assert_eq!(witness.patience_ends(), None);
    }

    #[test]
    fn an_answer_to_what_is_gone_says_nothing_and_is_still_awaited() {
        let (mut witness, now) = (Witness::default(), Instant::now());
        witness.asks(&sight(10), now);
        witness.forget();
        assert!(witness.asks(&sight(10), now));
        assert_eq!(witness.answered(), None);
        assert_eq!(witness.answered(), Some(sight(10)));
    }

    #[test]
    fn a_terminal_that_never_answers_is_asked_no_more_and_one_that_did_is_waited_for() {
        let (mut witness, now) = (Witness::default(), Instant::now());
        assert_eq!(witness.patience_ends(), None);
        witness.asks(&sight(10), now);
        assert_eq!(witness.patience_ends(), Some(now + PATIENCE));
        witness.give_up();
        assert!(witness.is_mute() && !witness.asks(&sight(20), now));
        // It was only slow: what it was asked before is answered first.
        let mut witness = Witness::default();
        assert!(witness.asks(&sight(10), now) && witness.asks(&sight(10), now + AGAIN));
        witness.give_up();
        assert_eq!(witness.answered(), None);
        assert!(!witness.is_mute() && witness.asks(&sight(20), now + PATIENCE));
        assert_eq!(witness.patience_ends(), None);
        assert_eq!((witness.answered(), witness.answered()), (None, Some(sight(20))));
    }

    #[test]
    fn lost_answers_hold_up_nothing_for_long() {
        let (mut witness, now) = (Witness::default(), Instant::now());
        witness.asks(&sight(10), now);
        witness.answered();
        let asked = (0..60).filter(|at| witness.asks(&sight(20), now + AGAIN * *at)).count();
        assert!(asked < 60, "no endless row of questions");
        witness.forget();
        let later = now + AGAIN * 60 + LOST;
        assert!(witness.asks(&sight(30), later));
        assert_eq!(witness.answered(), Some(sight(30)));
    }
}
