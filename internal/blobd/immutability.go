package blobd

import (
	"net/http"
	"strconv"
)

// setPolicy is Set Blob Immutability Policy. A locked policy stays locked and only gets longer; an unlocked one may
// be changed at will. The ETag stays as it is.
func (c *call) setPolicy() error {
	until, err := c.parseUntil()
	if err != nil {
		return err
	}
	locked, err := c.parseLocked()
	if err != nil {
		return err
	}
	v, err := c.amend(func(k *container, v *version) error {
		if !k.rec.Load().Immutable {
			return errNotImmutable()
		}
		if err := c.unmodifiedSince(v); err != nil {
			return err
		}
		if old := v.Policy; old != nil && old.Locked && (!locked || until.Before(old.Until)) {
			return errImmutable(codeImmutablePolicy)
		}
		v.Policy = &policy{Until: until, Locked: locked}
		return nil
	})
	if err != nil {
		return err
	}
	c.set("x-ms-immutability-policy-until-date", httpTime(v.Policy.Until))
	c.set("x-ms-immutability-policy-mode", v.Policy.mode())
	return c.done(http.StatusOK)
}

// unmodifiedSince is the one condition that Set Blob Immutability Policy knows.
func (c *call) unmodifiedSince(v *version) error {
	q, err := c.conditions()
	if err != nil {
		return err
	}
	return conditions{unmodified: q.unmodified}.checkWrite(v)
}

// deletePolicy is Delete Blob Immutability Policy, which a locked policy refuses.
func (c *call) deletePolicy() error {
	_, err := c.amend(func(k *container, v *version) error {
		if !k.rec.Load().Immutable {
			return errNotImmutable()
		}
		if v.Policy != nil && v.Policy.Locked {
			return conflict(codeLockedPolicyDelete, "A locked immutability policy cannot be deleted.")
		}
		v.Policy = nil
		return nil
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusOK)
}

// setHold is Set Blob Legal Hold.
func (c *call) setHold() error {
	if c.header("x-ms-legal-hold") == "" {
		return badRequest(codeMissingHeader, "An HTTP header that's mandatory for this request is not specified: x-ms-legal-hold.")
	}
	hold, err := c.parseHold()
	if err != nil {
		return err
	}
	_, err = c.amend(func(k *container, v *version) error {
		if !k.rec.Load().Immutable {
			return errNotImmutable()
		}
		v.Hold = hold
		return nil
	})
	if err != nil {
		return err
	}
	c.set("x-ms-legal-hold", strconv.FormatBool(hold))
	return c.done(http.StatusOK)
}
