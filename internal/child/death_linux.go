package child

import (
	"os/exec"
	"syscall"
)

// setDeathSignal asks the kernel to end the child with its parent (prctl PR_SET_PDEATHSIG).
func setDeathSignal(cmd *exec.Cmd, death syscall.Signal) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = death
}
