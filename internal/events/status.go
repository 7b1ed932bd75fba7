package events

// Status is where an image stands: accepted → processing → archived, or rejected, or failed.
type Status string

// The statuses. Archived and Rejected are final; Failed is final until its dead letter is redriven.
const (
	StatusAccepted   Status = "accepted"   // received; the bytes are in staging
	StatusProcessing Status = "processing" // the worker has begun
	StatusArchived   Status = "archived"   // original, metadata and every derivative are in the archive
	StatusRejected   Status = "rejected"   // the image's own fault
	StatusFailed     Status = "failed"     // ours; there is a dead letter
)

// Final says whether no further status follows by itself.
func (s Status) Final() bool {
	return s == StatusArchived || s == StatusRejected || s == StatusFailed
}

// Ended says whether the same bytes begin anew when they come again, although the image has not expired.
func (s Status) Ended() bool { return s == StatusRejected || s == StatusFailed }

// Error codes of an ImageStatus. The first group is the image's own fault (rejected), the second ours (failed).
const (
	CodeUnsupported = "unsupported_format" // not JPEG, PNG, GIF or WebP
	CodeTruncated   = "truncated"          // the bytes end too early
	CodeUndecodable = "undecodable"        // the bytes contradict their format
	CodeZeroSize    = "zero_size"          // width or height is 0
	CodeTooBig      = "too_big"            // too many pixels or too long a side
	CodeExpired     = "expired"            // it reached the archive after expires_at

	CodeStagingMissing = "staging_missing"   // the staging blob is gone
	CodeSizeMismatch   = "size_mismatch"     // staging holds another number of bytes than was received
	CodeDigestMismatch = "sha256_mismatch"   // staging holds other bytes than were received
	CodeDecodeTimeout  = "decode_timeout"    // decoding took longer than its deadline
	CodeTooLate        = "too_late"          // not settled within SettleLimit
	CodeConflict       = "raw_name_conflict" // the archive holds other bytes under the raw name
	CodeStepFailed     = "step_failed"       // with archived: a step went to the dead letters
	CodeInternal       = "internal"          // anything else of ours
)
