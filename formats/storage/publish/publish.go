// Package publish writes files and directories that appear complete or not at all.
//
// A directory, or a file with another beside it, is written in a stage beside its destination (Stage, FileStage), a file
// that stands alone by Replace. A destination outside the local file system is a Sink. What killed runs have left is
// removed by the next run with the same destination, or by Clean. Files are written concurrently past the page cache
// (Output, Stream); OutputFiles keeps their digests. CheckFree looks for the space. On systems without the necessary
// calls, these use simpler ones.
package publish
