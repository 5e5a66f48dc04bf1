package forward

// SetLogitsMemory sets the memory for logits, in bytes, and returns what it was.
func SetLogitsMemory(bytes int) int {
	before := logitsMemory
	logitsMemory = bytes
	return before
}
