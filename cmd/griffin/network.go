package main

import (
	"errors"

	"github.com/griffin-ckpt/griffin/cmd/internal/addresses"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// networkHints say what to do about files that cannot be read over the network.
var networkHints = map[remote.Reason]string{
	remote.Unreachable:  "check the connection and the address; HTTPS_PROXY names a proxy",
	remote.NoHost:       "check the address, and whether this machine is connected; HTTPS_PROXY names a proxy",
	remote.Unauthorized: "check the address, or give credentials: https://USER:PASSWORD@HOST/…",
	remote.Forbidden:    "these credentials do not give access to it, or the address has expired",
	remote.Gated:        "open the repository's page on the hub, accept its conditions, and set HF_TOKEN to a token of that account",
	remote.Missing:      "check the address: spelling, revision, and what it leads to",
	remote.Busy:         "wait as long as the server says; with HF_TOKEN the hub allows more requests",
	remote.Failing:      "the fault is the server's: try again later",
	remote.Changed:      "run the command again for the new version; hf:// addresses stay with one commit",
	remote.NoRanges:     "download the file first, for example with curl -O",
	remote.Insecure:     "use https://",
	remote.NoRegion:     "set AWS_REGION, or add ?region=REGION to the address",
	remote.Offline:      "HF_HUB_OFFLINE is set: unset it, or download the repository first with hf download",
}

// credentialHints say, by scheme, how to give credentials.
var credentialHints = map[string]string{
	"hf": "check the name; for a private repository set HF_TOKEN to a token with access, or run hf auth login",
	"gs": "give credentials with gcloud auth application-default login or GOOGLE_APPLICATION_CREDENTIALS; ?anonymous=true is for public buckets",
	"s3": "give credentials with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE; ?anonymous=true is for public buckets",
}

// withBuckets returns a part of a help that is about buckets, "" in a build without them.
func withBuckets(help string) string {
	if !addresses.HasBuckets() {
		return ""
	}
	return help
}

// isNetwork reports whether an error comes from reading an address.
func isNetwork(err error) bool {
	return errors.As(err, new(*remote.Error)) || errors.As(err, new(*storage.SchemeError))
}

// isUnusable reports whether err is about an address that griffin does not open, whatever is there.
func isUnusable(err error) bool {
	var e *remote.Error
	return is[*storage.SchemeError](err) || errors.As(err, &e) && e.Reason == remote.Insecure
}

// networkHint returns what to do about an error for which isNetwork is true.
func networkHint(err error) string {
	var e *remote.Error
	if errors.As(err, &e) {
		denied := e.Reason == remote.Unauthorized || e.Reason == remote.Forbidden
		scheme, _ := storage.Scheme(e.Address)
		if hint := credentialHints[scheme]; denied && hint != "" {
			return hint
		}
		return networkHints[e.Reason]
	}
	var scheme *storage.SchemeError
	if errors.As(err, &scheme) && scheme.Write && addresses.HasBuckets() {
		if scheme.Scheme == "hf" {
			return "convert to a directory, and upload it: hf upload ORG/NAME DIR"
		}
		return "griffin writes to paths and to file://, gs:// and s3:// addresses"
	}
	if !addresses.HasBuckets() {
		return "this griffin was built without object stores: it reads https:// and hf:// addresses"
	}
	return "griffin reads https://, hf://, gs:// and s3:// addresses"
}
