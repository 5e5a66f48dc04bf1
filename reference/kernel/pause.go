package kernel

// Pause is for the loop of a goroutine that waits for another one to write to memory: it takes a few hundred cycles at the most,
// in which it leaves the processor to a thread that shares it.
func Pause() { use.pause() }
