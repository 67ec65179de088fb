# Every target is `python3 dev.py TARGET`, which works without make; `python3 dev.py help` says what each does.
# Arguments: make test ARGS="-k chord"
TARGETS := install demo up test chaos bench lint clean clean-data lock

.DEFAULT_GOAL := help
.PHONY: help $(TARGETS)

help $(TARGETS):
	@python3 dev.py $@ $(ARGS)
