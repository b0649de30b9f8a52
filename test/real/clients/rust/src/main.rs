//! Makes gRPC calls with tonic as told: one JSON command a line on standard input, one JSON answer a
//! line on standard output. The commands are described in ../../driver.ts.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use serde_json::{json, Value};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::oneshot;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{
    AsciiMetadataKey, BinaryMetadataKey, BinaryMetadataValue, KeyAndValueRef, MetadataMap,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

/// Bytes in, bytes out.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

fn text<'a>(command: &'a Value, field: &str) -> &'a str {
    command[field].as_str().expect("a string")
}

fn number(command: &Value, field: &str) -> u64 {
    command[field].as_u64().expect("a number")
}

fn connect(command: &Value) -> Channel {
    let (target, ca) = (text(command, "target"), text(command, "ca"));
    let scheme = if ca.is_empty() { "http" } else { "https" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{target}")).expect("a target");
    if !ca.is_empty() {
        let pem = std::fs::read(ca).expect("a certificate");
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        endpoint = endpoint.tls_config(tls).expect("TLS");
    }
    let keepalive_ms = number(command, "keepaliveMs");
    if keepalive_ms > 0 {
        endpoint = endpoint
            .http2_keep_alive_interval(Duration::from_millis(keepalive_ms))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true);
    }
    endpoint.connect_lazy()
}

fn fill(fields: &mut MetadataMap, command: &Value) {
    for field in command["metadata"].as_array().expect("a list") {
        let (name, value) = (field[0].as_str().expect("a name"), field[1].as_str().expect("a value"));
        if name.ends_with("-bin") {
            let key = BinaryMetadataKey::from_bytes(name.as_bytes()).expect("a name");
            let bytes = BASE64.decode(value).expect("base64");
            fields.append_bin(key, BinaryMetadataValue::from_bytes(&bytes));
        } else {
            let key = AsciiMetadataKey::from_bytes(name.as_bytes()).expect("a name");
            fields.append(key, value.parse().expect("a value"));
        }
    }
}

fn list(fields: &MetadataMap) -> Vec<[String; 2]> {
    let mut list: Vec<_> = fields
        .iter()
        .map(|field| match field {
            KeyAndValueRef::Ascii(key, value) => {
                [key.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()]
            }
            KeyAndValueRef::Binary(key, value) => {
                [key.to_string(), BASE64.encode(value.to_bytes().expect("base64"))]
            }
        })
        .collect();
    list.sort();
    list
}

async fn call(channel: &Channel, command: &Value, message: Bytes) -> Result<(Bytes, MetadataMap), Status> {
    loop {
        let mut request = Request::new(message.clone());
        fill(request.metadata_mut(), command);
        let timeout_ms = number(command, "timeoutMs");
        if timeout_ms > 0 {
            request.set_timeout(Duration::from_millis(timeout_ms));
        }
        let mut grpc = Grpc::new(channel.clone()).accept_compressed(CompressionEncoding::Gzip);
        if command["gzip"] == true {
            grpc = grpc.send_compressed(CompressionEncoding::Gzip);
        }
        let path: PathAndQuery = text(command, "path").parse().expect("a path");
        let result = match grpc.ready().await {
            Ok(()) => grpc.unary(request, path, Raw).await,
            Err(error) => Err(Status::from_error(Box::new(error))),
        };
        match result {
            Ok(answer) => {
                let (fields, body, _) = answer.into_parts();
                return Ok((body, fields));
            }
            // tonic itself neither waits for a connection nor sends again what it never sent.
            Err(status) if command["waits"] == true && was_not_sent(&status) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(status) => return Err(status),
        }
    }
}

/// Whether there was nobody to connect to, or the connection ended before the request was written.
fn was_not_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::ConnectionRefused;
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// tonic hands out headers and trailers as one map, and the status details apart.
fn reply(id: &Value, result: Result<(Bytes, MetadataMap), Status>) -> Value {
    match result {
        Ok((body, fields)) => json!({
            "id": id, "code": 0, "message": "", "body": BASE64.encode(body),
            "headers": [], "trailers": list(&fields),
        }),
        Err(status) => {
            let mut trailers = list(status.metadata());
            if !status.details().is_empty() {
                trailers.push(["grpc-status-details-bin".into(), BASE64.encode(status.details())]);
            }
            json!({
                "id": id, "code": status.code() as i32, "message": status.message(), "body": null,
                "headers": [], "trailers": trailers,
            })
        }
    }
}

async fn many(channel: Channel, command: Value, message: Vec<u8>) {
    let next = Arc::new(AtomicU32::new(0));
    let tally = Arc::new(Mutex::new((HashMap::<String, u32>::new(), String::new())));
    let count = number(&command, "count") as u32;
    let mut workers = Vec::new();
    for _ in 0..number(&command, "parallel") {
        let (next, tally) = (next.clone(), tally.clone());
        let (channel, command, message) = (channel.clone(), command.clone(), message.clone());
        workers.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                let numbered = [&number.to_be_bytes()[..], &message].concat();
                let result = call(&channel, &command, numbered.into()).await;
                let mut tally = tally.lock().unwrap();
                let code = result.as_ref().err().map_or(Code::Ok, Status::code) as i32;
                *tally.0.entry(code.to_string()).or_default() += 1;
                if let (Err(status), true) = (result, tally.1.is_empty()) {
                    tally.1 = format!("{status:?}");
                }
            }
        }));
    }
    for worker in workers {
        worker.await.expect("a worker");
    }
    let (codes, first_error) = &*tally.lock().unwrap();
    println!("{}", json!({ "id": command["id"], "codes": codes, "firstError": first_error }));
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let mut channels = HashMap::new();
    let mut cancels = HashMap::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let command: Value = serde_json::from_str(&line).expect("JSON");
        match text(&command, "op") {
            "connect" => {
                channels.insert(text(&command, "name").to_string(), connect(&command));
                println!("{}", json!({ "id": command["id"] }));
            }
            "cancel" => {
                let cancel: Option<oneshot::Sender<()>> = cancels.remove(&number(&command, "call"));
                drop(cancel);
            }
            op => {
                let channel = channels[text(&command, "name")].clone();
                let message = std::fs::read(text(&command, "file"))?;
                if op == "many" {
                    tokio::spawn(many(channel, command, message));
                    continue;
                }
                let (cancel, cancelled) = oneshot::channel::<()>();
                cancels.insert(number(&command, "id"), cancel);
                tokio::spawn(async move {
                    let result = tokio::select! {
                        result = call(&channel, &command, message.into()) => result,
                        _ = cancelled => Err(Status::cancelled("cancelled by the test")),
                    };
                    println!("{}", reply(&command["id"], result));
                });
            }
        }
    }
    Ok(())
}
