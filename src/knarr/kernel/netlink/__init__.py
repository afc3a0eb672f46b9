"""netlink(7): the codec of messages and attributes, and rtnetlink(7)'s links, addresses and routes."""
