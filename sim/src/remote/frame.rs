//! Frames: a length, a kind, a number, and bytes.

use bytes::{BufMut as _, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: u8,
    /// A token, or the number of a subscription.
    pub number: u64,
    /// Its bytes.
    pub body: Bytes,
}

impl Frame {
    /// A frame.
    #[must_use]
    pub const fn new(kind: u8, number: u64, body: Bytes) -> Self {
        Self { kind, number, body }
    }

    /// A frame whose body is these texts and the rest, each text with its length before it.
    #[must_use]
    pub fn of_texts(kind: u8, number: u64, texts: &[&str], rest: &[u8]) -> Self {
        let mut body = BytesMut::new();
        for text in texts {
            body.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
            body.put_slice(text.as_bytes());
        }
        body.put_slice(rest);
        Self::new(kind, number, body.freeze())
    }

    /// The texts at the start of the body, so many of them, and the rest.
    pub fn texts<const N: usize>(&self) -> io::Result<([String; N], Bytes)> {
        let mut rest = self.body.clone();
        let mut texts = [const { String::new() }; N];
        for text in &mut texts {
            if rest.len() < 2 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let head = rest.split_to(2);
            let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
            if rest.len() < length {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let bytes = rest.split_to(length);
            let found = std::str::from_utf8(&bytes);
            *text = found
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?
                .to_owned();
        }
        Ok((texts, rest))
    }

    /// Writes it.
    pub async fn write(&self, io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut bytes = BytesMut::with_capacity(HEAD + self.body.len());
        bytes.put_u32(u32::try_from(self.body.len()).unwrap_or(u32::MAX));
        bytes.put_u8(self.kind);
        bytes.put_u64(self.number);
        bytes.put_slice(&self.body);
        io.write_all(&bytes).await?;
        io.flush().await
    }

    /// Reads one; nothing when the stream ended between two. Not cancel-safe: whoever drops this
    /// half-way must drop the stream.
    pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut head = [0; HEAD];
        let first = io.read(&mut head).await?;
        if first == 0 {
            return Ok(None);
        }
        io.read_exact(&mut head[first..]).await?;
        let (mut length, mut number) = ([0; 4], [0; 8]);
        length.copy_from_slice(&head[..4]);
        number.copy_from_slice(&head[5..]);
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > BODY_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; length];
        io.read_exact(&mut body).await?;
        Ok(Some(Self::new(
            head[4],
            u64::from_be_bytes(number),
            body.into(),
        )))
    }
}

const HEAD: usize = 4 + 1 + 8;
const BODY_MAX: usize = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_frame_arrives_as_it_was_sent() -> io::Result<()> {
        let (mut here, mut there) = tokio::io::duplex(16);
        let sent = Frame::of_texts(3, 77, &["subject", ""], b"words");
        let copy = sent.clone();
        let task = tokio::spawn(async move { copy.write(&mut here).await });
        let heard = Frame::read(&mut there)
            .await?
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        task.await.map_err(io::Error::other)??;
        assert_eq!(heard, sent);
        let ([subject, reply], rest) = heard.texts()?;
        assert_eq!((subject.as_str(), reply.as_str()), ("subject", ""));
        assert_eq!(rest, "words");
        assert_eq!(Frame::read(&mut there).await?, None);
        let short = Frame::new(1, 1, Bytes::from_static(b"\x00\x09x"));
        assert!(short.texts::<1>().is_err());
        Ok(())
    }
}
