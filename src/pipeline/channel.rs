//! A pipe inside the process, so that a recording can be read while the workload still runs.

use std::io::{self, Read, Write};
use std::sync::mpsc::{self, SyncSender, TrySendError, sync_channel};

/// The most pieces that wait in the channel. A recorder writes some in each round, even if they are
/// small.
const PIECES: usize = 256;
/// The most bytes that wait in one more piece: about a quarter of a million samples. If a recorder
/// had to wait, it would unwind late, after stacks that are larger than their copy have changed.
const MOST: usize = 64 << 20;

/// The end that is written to. The reader sees the end of the stream only after [`Sender::finish`].
/// If the sender is dropped before, reading fails, so that nobody takes a part for the whole.
pub(crate) struct Sender {
    pieces: SyncSender<Option<Vec<u8>>>,
    /// Bytes that did not fit into the channel.
    waiting: Vec<u8>,
}

/// The end that is read.
pub(crate) struct Receiver {
    pieces: mpsc::Receiver<Option<Vec<u8>>>,
    piece: io::Cursor<Vec<u8>>,
    finished: bool,
}

/// Makes a pipe.
pub(crate) fn channel() -> (Sender, Receiver) {
    let (sender, pieces) = sync_channel(PIECES);
    let sender = Sender { pieces: sender, waiting: Vec::new() };
    (sender, Receiver { pieces, piece: io::Cursor::default(), finished: false })
}

impl Sender {
    /// Ends the stream.
    pub(crate) fn finish(self) {
        // Without a reader, nobody needs to know.
        let _ = self.pieces.send(Some(self.waiting)).and_then(|()| self.pieces.send(None));
    }
}

impl Write for Sender {
    /// Never fails. If the reader is gone, its own error says why, and the recording goes on
    /// because of the workload.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        let piece = Some(std::mem::take(&mut self.waiting));
        if piece.as_ref().is_some_and(|piece| piece.len() > MOST) {
            let _ = self.pieces.send(piece);
        } else if let Err(TrySendError::Full(Some(piece))) = self.pieces.try_send(piece) {
            self.waiting = piece;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Receiver {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() || self.finished {
                return Ok(read);
            }
            match self.pieces.recv() {
                Ok(Some(piece)) => self.piece = io::Cursor::new(piece),
                Ok(None) => self.finished = true,
                Err(_) => return Err(io::Error::other("the recording failed")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_comes_through_in_order() {
        let (mut to, mut from) = channel();
        let writer = std::thread::spawn(move || {
            (0..1000u32).for_each(|n| to.write_all(&n.to_le_bytes()).unwrap());
            to.finish();
        });
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        writer.join().unwrap();
        assert!(bytes.chunks(4).eq((0..1000u32).map(u32::to_le_bytes)));
    }

    #[test]
    fn a_writer_does_not_wait_for_a_slow_reader() {
        let (mut to, mut from) = channel();
        (0..10 * PIECES as u32).for_each(|n| to.write_all(&n.to_le_bytes()).unwrap());
        let writer = std::thread::spawn(move || to.finish());
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        writer.join().unwrap();
        assert!(bytes.chunks(4).eq((0..10 * PIECES as u32).map(u32::to_le_bytes)));
    }

    #[test]
    fn a_part_is_not_taken_for_the_whole() {
        let (mut to, mut from) = channel();
        to.write_all(b"half").unwrap();
        drop(to);
        assert!(from.read_to_end(&mut Vec::new()).is_err());
        let (mut to, from) = channel();
        drop(from);
        to.write_all(b"nobody reads").unwrap();
    }
}
