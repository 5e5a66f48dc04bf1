package perplexity

// SetLogitsMemory changes the bound on the memory of logits and returns a function that restores it.
func SetLogitsMemory(bytes int) (restore func()) {
	before := logitsMemory
	logitsMemory = bytes
	return func() { logitsMemory = before }
}
