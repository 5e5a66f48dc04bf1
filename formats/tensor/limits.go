package tensor

// What a checkpoint may list, so that every command stays within its memory and time. Real checkpoints list some
// thousand tensors; mixtures of experts that keep each expert by itself, tens of thousands.
const (
	MaxTensors  = 200_000  // tensors
	MaxNames    = 24 << 20 // bytes of all their names
	MaxName     = 4 << 10  // bytes of one name
	MaxAxes     = 1 << 20  // axes of all tensors
	MaxMetadata = 16 << 10 // members of free text

	MaxMetadataText = 8 << 20 // bytes of free text
)

// TooLarge is the reason of errors about checkpoints that exceed a limit.
const TooLarge Reason = "a limit is exceeded"

// Count counts what a checkpoint lists. Parsers add each tensor before they keep it, so that a list that is too long
// is refused before it takes memory. The zero value is ready for use.
type Count struct {
	tensors     int
	names, axes int64
}

// Add adds a tensor, and returns a *FormatError with the reason TooLarge if the checkpoint then exceeds a limit.
func (c *Count) Add(name string, axes int) error {
	c.tensors++
	c.names += int64(len(name))
	c.axes += int64(axes)
	switch {
	case len(name) > MaxName:
		return Bad("name of a tensor has %d bytes; griffin reads names of at most %d", len(name), MaxName).Because(TooLarge)
	case c.tensors > MaxTensors:
		return Bad("more than %d tensors, which is the most that griffin reads", MaxTensors).Because(TooLarge)
	case c.names > MaxNames:
		return Bad("names of the tensors have more than %d MiB, which is the most that griffin reads", MaxNames>>20).Because(TooLarge)
	case c.axes > MaxAxes:
		return Bad("tensors have more than %d axes in all, which is the most that griffin reads", MaxAxes).Because(TooLarge)
	}
	return nil
}
