//! Runs models with candle's recurrent_gemma. Each line of standard input is a request, answered by one line of standard output:
//!
//!     {"dir": "...", "dtype": "f32", "mode": "whole", "tokens": [1, 2, 3]}
//!     {"bits": [[...], ...]}, the rows of logits as the bits of float32 numbers, or {"error": "...", "loaded": true}
//!
//! "dtype" is the type in which the weights are loaded and the model computes; without it, that of the first tensor. "mode" says
//! which logits are wanted, one row for each position:
//!
//!     whole    of each prefix of the tokens, read at once by a model without state: every position, without cache
//!     decode   of the first "prompt" tokens read at once (their last position), and of each later token with the cache
//!     again    of all tokens read at once, by a model that read them before: the last position
//!     pieces   of the first "prompt" tokens read at once, and then of all others at once: the last position
//!     at       of the first token alone, at position "prompt", by a model without state
//!     load     none: the model is loaded
//!
//! candle has no loader of directories: its programs read config.json, and the weights from model.safetensors or the files of
//! model.safetensors.index.json, under the prefix "model". So does this one.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::recurrent_gemma::{Config, Model};
use serde::Deserialize;

type Error = Box<dyn std::error::Error>;

#[derive(Deserialize)]
struct Request {
    dir: PathBuf,
    dtype: Option<String>,
    mode: String,
    #[serde(default)]
    prompt: usize,
    tokens: Vec<u32>,
}

fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let index = dir.join("model.safetensors.index.json");
    if !index.exists() {
        return Ok(vec![dir.join("model.safetensors")]);
    }
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(index)?)?;
    let map = index["weight_map"].as_object().ok_or("no weight_map")?;
    let names: BTreeSet<&str> = map.values().filter_map(|v| v.as_str()).collect();
    Ok(names.into_iter().map(|n| dir.join(n)).collect())
}

fn load(request: &Request) -> Result<Model, Error> {
    let config: Config = serde_json::from_slice(&std::fs::read(request.dir.join("config.json"))?)?;
    let files = weight_files(&request.dir)?;
    let device = Device::Cpu;
    let dtype = match request.dtype.as_deref() {
        Some("f32") => DType::F32,
        Some("f16") => DType::F16,
        Some("bf16") => DType::BF16,
        Some(other) => return Err(format!("dtype {other}").into()),
        None => {
            let tensors = candle_core::safetensors::load(&files[0], &device)?;
            tensors.values().next().ok_or("no tensors")?.dtype()
        }
    };
    let vb = unsafe { VarBuilder::from_mmaped_safetensors(&files, dtype, &device)? };
    Ok(Model::new(&config, vb.pp("model"))?)
}

/// The logits of the last of the tokens.
fn forward(model: &mut Model, tokens: &[u32], position: usize) -> Result<Vec<f32>, Error> {
    let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
    let logits = model.forward(&input, position)?;
    Ok(logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?)
}

fn run(model: &Model, request: &Request) -> Result<Vec<Vec<f32>>, Error> {
    let tokens = &request.tokens;
    let mut rows = vec![];
    match request.mode.as_str() {
        "whole" => {
            for n in 1..=tokens.len() {
                rows.push(forward(&mut model.clone(), &tokens[..n], 0)?);
            }
        }
        "decode" => {
            let mut model = model.clone();
            rows.push(forward(&mut model, &tokens[..request.prompt], 0)?);
            for n in request.prompt..tokens.len() {
                rows.push(forward(&mut model, &tokens[n..n + 1], n)?);
            }
        }
        "again" => {
            let mut model = model.clone();
            forward(&mut model, tokens, 0)?;
            rows.push(forward(&mut model, tokens, 0)?);
        }
        "pieces" => {
            let mut model = model.clone();
            forward(&mut model, &tokens[..request.prompt], 0)?;
            rows.push(forward(&mut model, &tokens[request.prompt..], request.prompt)?);
        }
        "at" => rows.push(forward(&mut model.clone(), &tokens[..1], request.prompt)?),
        "load" => {}
        other => return Err(format!("mode {other}").into()),
    }
    Ok(rows)
}

fn answer(line: &str) -> serde_json::Value {
    let request: Request = match serde_json::from_str(line) {
        Ok(r) => r,
        Err(e) => return serde_json::json!({"error": format!("request: {e}"), "loaded": false}),
    };
    match load(&request) {
        Err(e) => serde_json::json!({"error": e.to_string(), "loaded": false}),
        Ok(model) => match run(&model, &request) {
            Err(e) => serde_json::json!({"error": e.to_string(), "loaded": true}),
            // JSON has no NaN: bits go as integers.
            Ok(rows) => {
                let rows: Vec<Vec<u32>> = rows.iter().map(|r| r.iter().map(|x| x.to_bits()).collect()).collect();
                serde_json::json!({"bits": rows})
            }
        },
    }
}

fn main() -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        writeln!(out, "{}", answer(&line?))?;
        out.flush()?;
    }
    Ok(())
}
